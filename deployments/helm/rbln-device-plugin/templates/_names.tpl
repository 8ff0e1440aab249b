{{- define "rbln.name" -}}
{{ default "rbln-device-plugin" .Values.fullnameOverride | trunc 56 | trimSuffix "-" }}
{{- end }}

{{- define "rbln.configMap" -}}
{{ default (printf "%s-config" (include "rbln.name" .)) .Values.existingConfigMap }}
{{- end }}

{{- define "rbln.labels" -}}
app.kubernetes.io/name: rbln-device-plugin
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}
