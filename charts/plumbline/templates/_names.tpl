{{- define "plumbline.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the release's objects. */}}
{{- define "plumbline.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "plumbline.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "plumbline.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of what has no namespace: another release may have the same name in another one. */}}
{{- define "plumbline.clusterName" -}}
{{- printf "%s.%s" (include "plumbline.fullname" .) .Release.Namespace -}}
{{- end -}}

{{- define "plumbline.selector" -}}
app.kubernetes.io/name: {{ include "plumbline.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "plumbline.labels" -}}
{{ include "plumbline.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "plumbline.serviceAccount" -}}
{{- default (include "plumbline.fullname" .) .Values.operator.serviceAccount.name -}}
{{- end -}}

{{/* How the API server knows the operator. */}}
{{- define "plumbline.user" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "plumbline.serviceAccount" .) -}}
{{- end -}}

{{- define "plumbline.claim" -}}
{{- default (printf "%s-store" (include "plumbline.fullname" .)) .Values.store.claim.name -}}
{{- end -}}

{{/* The Secret with the operator's own authority. */}}
{{- define "plumbline.authority" -}}
{{- printf "%s-progress" (include "plumbline.fullname" .) -}}
{{- end -}}

{{/* The namespaces that are watched, as a JSON list; empty where all are. */}}
{{- define "plumbline.namespaces" -}}
{{- if .Values.clusterWide -}}
{{- if .Values.watchNamespaces -}}
{{- fail "clusterWide and watchNamespaces exclude each other; to make service accounts and claims, list namespaces in workloads.namespaces" -}}
{{- end -}}
[]
{{- else -}}
{{- default (list .Release.Namespace) .Values.watchNamespaces | uniq | toJson -}}
{{- end -}}
{{- end -}}

{{/* The namespaces that the pods of runs need something in, as a JSON list. */}}
{{- define "plumbline.workloadNamespaces" -}}
{{- $watched := include "plumbline.namespaces" . | fromJsonArray -}}
{{- coalesce .Values.workloads.namespaces $watched (list .Release.Namespace) | uniq | toJson -}}
{{- end -}}
