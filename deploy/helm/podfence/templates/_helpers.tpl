{{- define "podfence.labels" -}}
app.kubernetes.io/name: podfence
{{- end }}
{{- define "podfence.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- define "podfence.port" -}}
{{ regexFind "[0-9]+$" .Values.agent.httpAddress }}
{{- end }}
{{/* Where the kubelet asks: of all addresses, the loopback one. */}}
{{- define "podfence.probeHost" -}}
{{- $host := regexReplaceAll ":[0-9]+$" .Values.agent.httpAddress "" | trimPrefix "[" | trimSuffix "]" -}}
{{- if eq $host "0.0.0.0" -}}127.0.0.1{{- else if eq $host "::" -}}::1{{- else -}}{{ $host }}{{- end -}}
{{- end }}
{{- define "podfence.probe" -}}
host: {{ include "podfence.probeHost" . | quote }}
port: {{ include "podfence.port" . }}
{{- end }}
