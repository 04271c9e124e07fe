{{/* What brings weights before a service starts, by their digests. dict: root, name, said. */}}
{{- define "chorale.weights-init" -}}
- name: weights
  image: {{ include "chorale.image" . }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [python3, /fetch/fetch-weights.py, /weights]
  env: [{name: WEIGHTS, value: {{ toJson .said.weights.files | quote }}}]
  resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 256Mi}}
  securityContext: {{ include "chorale.confined" . }}
  volumeMounts:
    - {name: weights, mountPath: /weights}
    - {name: fetch, mountPath: /fetch, readOnly: true}
    - {name: temporary, mountPath: /tmp}
{{- end }}

{{/* Where they are kept: a claim that pods share, or each pod's own room. */}}
{{- define "chorale.weights-volumes" -}}
- name: weights
  {{- if .said.weights.claim }}
  persistentVolumeClaim: {claimName: {{ .said.weights.claim }}}
  {{- else }}
  emptyDir: {sizeLimit: {{ .said.weights.size }}}
  {{- end }}
- {name: fetch, configMap: {name: {{ include "chorale.name" .root }}-weights}}
{{- end }}

{{- define "chorale.image" -}}
{{ .root.Values.image.registry }}/{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}{{ if .said.gpu.count }}{{ .said.gpu.imageSuffix }}{{ end }}
{{- end }}
