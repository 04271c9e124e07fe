{{/* The environment of a service: a sorted map, so that lists never have to be merged. */}}
{{- define "chorale.env" -}}
{{- $values := .root.Values -}}
{{- $rows := dict
  "address" "0.0.0.0:7400"
  "metrics_address" "0.0.0.0:7500"
  "database_url_file" "/run/chorale/database-url"
  "objects_endpoint" (include "chorale.objects" .root)
  "objects_access_key_file" "/run/chorale/objects-access-key"
  "objects_secret_key_file" "/run/chorale/objects-secret-key"
  "objects_bucket" $values.storage.objects.bucket
  "objects_secure" (and (eq $values.storage.objects.kind "external") $values.storage.objects.secure)
  "drain_seconds" .said.drainSeconds -}}
{{- range .said.calls }}
{{- $_ := set $rows (printf "%s_address" .) (printf "dns:///%s-%s:7400" (include "chorale.name" $.root) .) }}
{{- end }}
{{- with .said.deviceWorks }}
{{- $_ := set $rows "device_works" (join "," .) }}
{{- if not $.said.gpu.count }}{{ $_ := set $rows "work_queues" "!*.cuda" }}
{{- else if $.pool }}{{ $_ := set $rows "work_queues" "*.cuda" }}{{ end }}
{{- end }}
{{- if .said.weights.files }}{{ $_ := set $rows "weights_directory" "/weights" }}{{ end }}
{{- with $values.storage.objects.publicEndpoint }}{{ $_ := set $rows "objects_public_endpoint" . }}{{ end }}
{{- if ne $values.tls.mode "off" }}
{{- $_ := set $rows "tls_cert_file" "/run/chorale/tls.crt" }}
{{- $_ := set $rows "tls_key_file" "/run/chorale/tls.key" }}
{{- $_ := set $rows "tls_client_ca_file" "/run/chorale/ca.crt" }}
{{- $_ := set $rows "peer_ca_file" "/run/chorale/ca.crt" }}
{{- else if not (or $values.identity.apiKeys $values.identity.jwtSecret) }}
{{- fail "tls.mode is off and nobody has to say who they are: set identity.apiKeys or identity.jwtSecret, or turn TLS on. The services refuse to be reached otherwise." }}
{{- end }}
{{- if $values.identity.apiKeys }}{{ $_ := set $rows "api_keys" true }}{{ end }}
{{- if $values.identity.jwtSecret }}{{ $_ := set $rows "jwt_keys_file" "/run/chorale/jwks" }}{{ end }}
{{- if $values.identity.serviceSecret }}{{ $_ := set $rows "service_token_file" "/run/chorale/service-token" }}{{ end }}
{{- with $values.identity.jwtIssuer }}{{ $_ := set $rows "jwt_issuer" . }}{{ end }}
{{- with $values.identity.jwtAudience }}{{ $_ := set $rows "jwt_audience" . }}{{ end }}
{{- with $values.monitoring.otlpEndpoint }}
{{- $_ := set $rows "otlp_endpoint" . }}
{{- $_ := set $rows "trace_ratio" $values.monitoring.traceRatio }}
{{- end }}
{{- range $row, $value := merge (deepCopy .said.settings) $rows }}
- {name: CHORALE_{{ upper $row }}, value: {{ include "chorale.text" $value | quote }}}
{{- end }}
{{- range $name, $value := merge (deepCopy .said.env) (dict "NUMBA_CACHE_DIR" "/tmp/numba" "OMP_WAIT_POLICY" "PASSIVE") }}
- {name: {{ $name }}, value: {{ include "chorale.text" $value | quote }}}
{{- end }}
{{- end }}
