{{/* The name of everything, and the prefix of what there are several of. */}}
{{- define "clarion.name" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{/* What tells the Pods of this release from all others. */}}
{{- define "clarion.selector" -}}
app.kubernetes.io/name: clarion
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "clarion.labels" -}}
{{ include "clarion.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "clarion.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The subject of every binding. */}}
{{- define "clarion.subjects" -}}
- kind: ServiceAccount
  name: {{ include "clarion.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
