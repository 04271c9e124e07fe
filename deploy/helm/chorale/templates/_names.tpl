{{- define "chorale.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{/* Labels that select a service, or with `label` one pool of it. dict: root, name. */}}
{{- define "chorale.selector" -}}
{{- $labels := dict "app.kubernetes.io/part-of" "chorale" "app.kubernetes.io/instance" .root.Release.Name "app.kubernetes.io/component" .name }}
{{- with .label }}{{ $_ := set $labels "chorale/pool" . }}{{ end }}
{{- toJson $labels }}
{{- end }}

{{/* Those, and what merely informs. */}}
{{- define "chorale.labels" -}}
{{- $more := dict "app.kubernetes.io/name" "chorale" "app.kubernetes.io/version" .root.Chart.AppVersion "app.kubernetes.io/managed-by" .root.Release.Service "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version) }}
{{- toJson (merge (fromJson (include "chorale.selector" .)) $more) }}
{{- end }}

{{/* What every container of the mesh may not do. */}}
{{- define "chorale.confined" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end }}

{{/* Where object storage answers, host:port. */}}
{{- define "chorale.objects" -}}
{{- if eq .Values.storage.objects.kind "bundled" -}}
{{ include "chorale.name" . }}-objects:8333
{{- else -}}
{{ required "storage.objects.endpoint is needed where storage.objects.kind is external: host:port of any S3 endpoint." .Values.storage.objects.endpoint }}
{{- end }}
{{- end }}

{{/* dict under, over: maps merged to any depth, as JSON. Sprig's own keep what is under a 0 or a "". */}}
{{- define "chorale.merged" -}}
{{- $merged := deepCopy .under }}
{{- range $name, $value := .over }}
{{- if and (kindIs "map" $value) (kindIs "map" (get $merged $name)) }}
{{- $value = fromJson (include "chorale.merged" (dict "under" (get $merged $name) "over" $value)) }}
{{- end }}
{{- $_ := set $merged $name $value }}
{{- end }}
{{- toJson $merged }}
{{- end }}

{{/* A value as a variable has it: 8388608, not 8.388608e+06. */}}
{{- define "chorale.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ toString . }}{{ end }}
{{- end }}
