{{/* The reference of an image: (list $ "trainer"). Every image of the chart, and every one that the operator puts into pods, comes from here. */}}
{{- define "plumbline.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $image := index $root.Values.images $name -}}
{{- $registry := default $image.registry $root.Values.global.imageRegistry -}}
{{- $place := printf "%s/%s" (required (printf "images.%s.registry is empty; name the registry that holds the image, or set global.imageRegistry" $name) $registry) $image.repository -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $place $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $place (default $root.Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "plumbline.pullSecrets" -}}
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end -}}
