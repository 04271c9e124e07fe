{{/* The pods of one pool of a service, and what scales them. dict: root, name, full, said, pool, workload. */}}
{{- define "chorale.workload" -}}
{{- $pool := .pool | default "main" -}}
{{- $scaled := ne .said.scaling.kind "none" -}}
{{- $pooled := dict "root" .root "name" .name "label" $pool -}}
{{- $secure := ne .root.Values.tls.mode "off" -}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .workload }}, labels: {{ include "chorale.labels" . }}}
spec:
  {{- if not $scaled }}
  replicas: {{ .said.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  minReadySeconds: {{ .said.settleSeconds }}
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  selector: {matchLabels: {{ include "chorale.selector" $pooled }}}
  template:
    metadata: {labels: {{ include "chorale.labels" $pooled }}}
    spec:
      serviceAccountName: {{ .full }}
      automountServiceAccountToken: false
      # Service links would inject CHORALE_* variables, which the settings refuse as unknown.
      enableServiceLinks: false
      # Longer than the pause and the drain together: what is cut off then would have hung.
      terminationGracePeriodSeconds: {{ add .said.pauseSeconds .said.drainSeconds 5 }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {{ toJson .said.seccompProfile }}
      {{- with .root.Values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with .said.runtimeClassName }}
      runtimeClassName: {{ . }}
      {{- end }}
      {{- with .said.nodeSelector }}
      nodeSelector: {{ toJson . }}
      {{- end }}
      {{- with .said.tolerations }}
      tolerations: {{ toJson . }}
      {{- end }}
      {{- with .root.Values.image.pullSecrets }}
      imagePullSecrets: [{{ range $i, $name := . }}{{ if $i }}, {{ end }}{name: {{ $name }}}{{ end }}]
      {{- end }}
      topologySpreadConstraints:
        {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
        - maxSkew: 1
          topologyKey: {{ . }}
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: {matchLabels: {{ include "chorale.selector" $pooled }}}
        {{- end }}
      {{- if .said.weights.files }}
      initContainers: {{- include "chorale.weights-init" . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .name }}
          image: {{ include "chorale.image" . }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          ports: [{name: grpc, containerPort: 7400}, {name: metrics, containerPort: 7500}]
          env: {{- include "chorale.env" . | nindent 12 }}
          {{- $resources := deepCopy .said.resources }}
          {{- if .said.gpu.count }}
          {{- $resources = mustMergeOverwrite $resources (dict "limits" (dict .said.gpu.resource .said.gpu.count)) }}
          {{- end }}
          resources: {{ toJson $resources }}
          securityContext: {{ include "chorale.confined" . }}
          {{- if $secure }}
          # The kubelet's gRPC probes speak no TLS: behind mTLS the side port answers the same.
          startupProbe: {httpGet: {path: /readyz, port: metrics}, periodSeconds: 2, failureThreshold: {{ div .said.startSeconds 2 }}}
          readinessProbe: {httpGet: {path: /readyz, port: metrics}, periodSeconds: 5, timeoutSeconds: 3}
          livenessProbe: {httpGet: {path: /livez, port: metrics}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
          {{- else }}
          # "live" and not "": a database that is away is no reason to restart.
          startupProbe: {grpc: {port: 7400}, periodSeconds: 2, failureThreshold: {{ div .said.startSeconds 2 }}}
          readinessProbe: {grpc: {port: 7400, service: {{ printf "chorale.%s.v1.%sService" .name (title .name) }}}, periodSeconds: 5, timeoutSeconds: 3}
          livenessProbe: {grpc: {port: 7400, service: live}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
          {{- end }}
          lifecycle: {preStop: {exec: {command: [python3, -c, "import time; time.sleep({{ .said.pauseSeconds }})"]}}}
          volumeMounts:
            - {name: temporary, mountPath: /tmp}
            - {name: secrets, mountPath: /run/chorale, readOnly: true}
            {{- if .said.weights.files }}
            - {name: weights, mountPath: /weights, readOnly: true}
            {{- end }}
      volumes:
        {{- if .said.weights.files }}
        {{- include "chorale.weights-volumes" . | nindent 8 }}
        {{- end }}
        - {name: temporary, emptyDir: {sizeLimit: {{ .said.temporarySize }}}}
        - name: secrets
          projected:
            defaultMode: 0440
            sources:
              - secret: {name: {{ .root.Values.storage.database.secret.name }}, items: [{key: {{ .root.Values.storage.database.secret.key }}, path: database-url}]}
              - secret: {name: {{ .root.Values.storage.objects.secret.name }}, items: [{key: objects-access-key, path: objects-access-key}, {key: objects-secret-key, path: objects-secret-key}]}
              {{- if $secure }}
              - secret: {name: {{ .full }}-tls, items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}, {key: ca.crt, path: ca.crt}]}
              {{- end }}
              {{- with .root.Values.identity.serviceSecret }}
              - secret: {name: {{ . }}, items: [{key: service-token, path: service-token}]}
              {{- end }}
              {{- with .root.Values.identity.jwtSecret }}
              - secret: {name: {{ . }}, items: [{key: jwks, path: jwks}]}
              {{- end }}
{{ include "chorale.scaler" . }}
{{- end }}

{{/* What changes the number of pods. */}}
{{- define "chorale.scaler" -}}
{{- $by := .said.scaling -}}
{{- $queue := "" -}}
{{- if $by.queue }}{{ $queue = printf ", queue=%q" $by.queue }}
{{- else if and .said.deviceWorks (not .said.gpu.count) }}{{ $queue = printf ", queue!=%q" (printf "%s.cuda" .name) }}
{{- else if and .said.deviceWorks .pool }}{{ $queue = printf ", queue=%q" (printf "%s.cuda" .name) }}
{{- end -}}
{{- if eq $by.kind "hpa" }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: {{ .workload }}, labels: {{ include "chorale.labels" . }}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .workload }}}
  minReplicas: {{ $by.minimum }}
  maxReplicas: {{ $by.maximum }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ $by.cpuPercent }}}}
{{- else if eq $by.kind "keda" }}
---
# Every replica tells how many operations wait over all of them, so a pool at zero is
# woken by what the service's own pods report. A queue that nobody has worked on yet has no
# running series: without the zero the sum would be nothing, and nothing wakes nobody.
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: {{ .workload }}, labels: {{ include "chorale.labels" . }}}
spec:
  scaleTargetRef: {name: {{ .workload }}}
  minReplicaCount: {{ $by.minimum }}
  maxReplicaCount: {{ $by.maximum }}
  cooldownPeriod: {{ $by.cooldownSeconds }}
  triggers:
    - type: prometheus
      metadata:
        serverAddress: {{ required "monitoring.prometheusUrl is needed where something is scaled by keda: http://host:9090." .root.Values.monitoring.prometheusUrl }}
        threshold: {{ $by.waitingPerPod | quote }}
        query: {{ printf "sum(max by (queue) (chorale_%s_operations_waiting_count{namespace=%q%s})) + (sum(chorale_%s_operations_running_count{namespace=%q%s}) or vector(0))" .name .root.Release.Namespace $queue .name .root.Release.Namespace $queue | squote }}
{{- end }}
{{- end }}
