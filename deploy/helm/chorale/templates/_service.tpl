{{/* All of one service. dict: root, name. */}}
{{- define "chorale.service" -}}
{{- $said := fromJson (include "chorale.merged" (dict "under" .root.Values.defaults "over" (get .root.Values.services .name))) -}}
{{- $base := omit $said "pools" -}}
{{- $one := dict "root" .root "name" .name "full" (printf "%s-%s" (include "chorale.name" .root) .name) "said" $said -}}
{{- if lt (int $said.scaling.minimum) 1 }}{{ fail (printf "services.%s.scaling.minimum is 0: nobody would take its calls. Say 0 for one of its pools." .name) }}{{ end -}}
{{- if and $said.deviceWorks (not $said.gpu.count) }}
{{- $devices := 0 }}
{{- range $pool, $differs := $said.pools }}{{ $devices = add $devices (dig "gpu" "count" 0 $differs) }}{{ end }}
{{- if not $devices }}{{ fail (printf "services.%s.deviceWorks names work that no pool would do: give one of its pools gpu.count." .name) }}{{ end }}
{{- end -}}
{{ include "chorale.identity" $one }}
{{ include "chorale.policy" $one }}
{{ include "chorale.workload" (merge (dict "pool" "" "workload" $one.full) $one) }}
{{- range $pool, $differs := $said.pools }}
{{ include "chorale.workload" (merge (dict "pool" $pool "workload" (printf "%s-%s" $one.full $pool) "said" (fromJson (include "chorale.merged" (dict "under" $base "over" $differs)))) (omit $one "said")) }}
{{- end }}
{{- end }}

{{/* Service, ServiceAccount, budget and certificate: one of each, whatever the pools. */}}
{{- define "chorale.identity" -}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: {{ .full }}, labels: {{ include "chorale.labels" . }}}
automountServiceAccountToken: false
---
# Headless: clients see every pod and go round them. One address would pin a caller's one
# HTTP/2 connection, and so all its calls, to one pod.
apiVersion: v1
kind: Service
metadata: {name: {{ .full }}, labels: {{ include "chorale.labels" . }}}
spec:
  clusterIP: None
  selector: {{ include "chorale.selector" . }}
  ports:
    - {name: grpc, port: 7400, targetPort: grpc, appProtocol: kubernetes.io/h2c}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: {{ .full }}, labels: {{ include "chorale.labels" . }}}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {{ include "chorale.selector" . }}}
{{- if eq .root.Values.tls.mode "certManager" }}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: {{ .full }}, labels: {{ include "chorale.labels" . }}}
spec:
  secretName: {{ .full }}-tls
  duration: 2160h
  renewBefore: 720h
  usages: [server auth, client auth]
  privateKey: {algorithm: ECDSA, rotationPolicy: Always}
  # The last name makes it a service of the mesh in others' eyes (CHORALE_TLS_SERVICES).
  dnsNames: [{{ .full }}, {{ .full }}.{{ .root.Release.Namespace }}.svc, {{ .name }}.chorale]
  issuerRef:
    name: {{ .root.Values.tls.issuer.name | default (printf "%s-authority" (include "chorale.name" .root)) }}
    kind: {{ .root.Values.tls.issuer.kind }}
    group: {{ .root.Values.tls.issuer.group }}
{{- end }}
{{- end }}

{{/* Who may speak with it, and with whom it may: read off `calls`. */}}
{{- define "chorale.policy" -}}
{{- if .root.Values.network.policies }}
{{- $ := . }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: {{ .full }}, labels: {{ include "chorale.labels" . }}}
spec:
  podSelector: {matchLabels: {{ include "chorale.selector" . }}}
  policyTypes: [Ingress, Egress]
  ingress:
    - ports: [{port: 7400}]
      from:
        - podSelector: {matchLabels: {{ include "chorale.selector" (dict "root" .root "name" "first-sound") }}}
        {{- if .root.Values.edge.enabled }}
        - podSelector: {matchLabels: {{ include "chorale.selector" (dict "root" .root "name" "edge") }}}
        {{- end }}
        {{- range $caller, $its := .root.Values.services }}
        {{- if has $.name ($its.calls | default list) }}
        - podSelector: {matchLabels: {{ include "chorale.selector" (dict "root" $.root "name" $caller) }}}
        {{- end }}
        {{- end }}
        {{- range .root.Values.network.callers }}
        - namespaceSelector: {matchLabels: {{ toJson . }}}
        {{- end }}
    - ports: [{port: 7500}]
      from: [{namespaceSelector: {matchLabels: {{ toJson .root.Values.network.monitoring }}}}]
  egress:
    - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
    {{- with .said.calls }}
    - ports: [{port: 7400}]
      to:
        {{- range . }}
        - podSelector: {matchLabels: {{ include "chorale.selector" (dict "root" $.root "name" .) }}}
        {{- end }}
    {{- end }}
    {{- if or (eq .root.Values.storage.database.kind "external") (eq .root.Values.storage.objects.kind "external") }}
    - ports: [{{ range $i, $port := .root.Values.storage.egress.ports }}{{ if $i }}, {{ end }}{port: {{ $port }}}{{ end }}]
      to: [{{ range $i, $cidr := .root.Values.storage.egress.cidrs }}{{ if $i }}, {{ end }}{ipBlock: {cidr: {{ $cidr }}}}{{ end }}]
    {{- end }}
    {{- if eq .root.Values.storage.database.kind "bundled" }}
    - ports: [{port: 5432}]
      to: [{podSelector: {matchLabels: {{ include "chorale.selector" (dict "root" .root "name" "database") }}}}]
    {{- else if eq .root.Values.storage.database.kind "cloudnativepg" }}
    - ports: [{port: 5432}]
      to: [{podSelector: {matchLabels: {cnpg.io/cluster: {{ include "chorale.name" .root }}-database}}}]
    {{- end }}
    {{- if eq .root.Values.storage.objects.kind "bundled" }}
    - ports: [{port: 8333}]
      to: [{podSelector: {matchLabels: {{ include "chorale.selector" (dict "root" .root "name" "objects") }}}}]
    {{- end }}
    {{- if .root.Values.monitoring.otlpEndpoint }}
    - ports: [{port: 4317}]
      to: [{namespaceSelector: {matchLabels: {{ toJson .root.Values.monitoring.otlpNamespace }}}}]
    {{- end }}
{{- end }}
{{- end }}
