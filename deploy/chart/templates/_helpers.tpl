{{- /* Templates that others use. Helm renders them, and so does package manifests of the
plugin: a function that is used here has to be one of Go's own or listed there. */ -}}

{{- define "labels"}}
    app.kubernetes.io/name: rotate-certs
    app.kubernetes.io/managed-by: rotate-certs
    app.kubernetes.io/version: {{.Chart.AppVersion}}
{{- range $name, $value := .Values.labels}}
    {{toJson $name}}: {{toJson $value}}
{{- end}}
{{- end}}

{{- define "nodeImage"}}{{default (print "ghcr.io/rotate-certs/rotate-certs-node:" .Chart.AppVersion) .Values.image}}{{end}}

{{- define "watcherImage"}}
{{- $node := default (print "ghcr.io/rotate-certs/rotate-certs-node:" .Chart.AppVersion) .Values.image}}
{{- if .Values.watcherImage}}{{.Values.watcherImage}}
{{- else if regexMatch "rotate-certs-node(:[^@]*)?$" $node}}{{regexReplaceAll "rotate-certs-node(:[^@]*)?$" $node "rotate-certs-watcher${1}"}}
{{- else}}{{fail (print "image " $node " does not say what the image of the watcher is: set watcherImage too")}}
{{- end}}
{{- end}}

{{- /* Resources by name: the first map, with those of the second instead. */}}
{{- define "quantities"}}
{{- $quantities := index . 0}}
{{- range $name, $quantity := index . 1}}{{$_ := set $quantities $name $quantity}}{{end}}
{{- toJson $quantities}}
{{- end}}

{{- /* The settings of the installation, for the annotation by which the plugin knows them:
the values that differ from nothing, but those that the objects themselves say. */}}
{{- define "settings"}}
{{- $settings := dict}}
{{- range $name, $value := omit .Values "createNamespace" "createPolicy" "earlierImages" "global" "image" "natsSecretKeys" "policy" "watcherImage"}}
{{- if $value}}{{$_ := set $settings $name $value}}{{end}}
{{- end}}
{{- toJson (toJson $settings)}}
{{- end}}
