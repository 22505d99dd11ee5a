{{/* A policy's binding, in the namespaces that the operator watches: (list $ "name"). */}}
{{- define "plumbline.binding" -}}
{{- $root := index . 0 -}}
{{- $namespaces := include "plumbline.namespaces" $root | fromJsonArray -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ index . 1 }}
  labels:
    {{- include "plumbline.labels" $root | nindent 4 }}
spec:
  policyName: {{ index . 1 }}
  validationActions: [Deny]
  {{- if $namespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
            {{- toYaml $namespaces | nindent 12 }}
  {{- end }}
{{- end -}}

{{/* The users who may change what is Plumbline's, as a list in CEL. */}}
{{- define "plumbline.trusted" -}}
{{- prepend .Values.admission.trustedUsers (include "plumbline.user" .) | uniq | toJson -}}
{{- end -}}
