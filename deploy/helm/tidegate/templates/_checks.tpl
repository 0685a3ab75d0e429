{{- /* Values that contradict each other: the install fails rather than a pod. */ -}}
{{- define "tidegate.check" -}}
{{- if ge (int .Values.shutdown.drainSeconds) (int .Values.shutdown.deadlineSeconds) -}}
{{- fail "shutdown.drainSeconds has to be less than shutdown.deadlineSeconds" -}}
{{- end -}}
{{- if and .Values.tls.grpc.clientCA (not .Values.tls.grpc.secretName) -}}
{{- fail "tls.grpc.clientCA needs tls.grpc.secretName, whose Secret has the CAs in ca.crt" -}}
{{- end -}}
{{- if and .Values.access.clients (not .Values.tls.grpc.clientCA) -}}
{{- fail "access.clients needs tls.grpc.clientCA: clients are known by the names in their certificates" -}}
{{- end -}}
{{- if and .Values.access.clients .Values.json.enabled -}}
{{- fail "json.enabled has no effect with access.clients: callers of /json have no certificate" -}}
{{- end -}}
{{- if and .Values.admin.service.enabled (not .Values.admin.tokensSecret) (not .Values.admin.open) -}}
{{- fail "admin.service.enabled needs admin.tokensSecret, or admin.open where a NetworkPolicy keeps others out" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.cpuPercent) (not .Values.autoscaling.checksPerSecond) -}}
{{- fail "autoscaling.enabled needs autoscaling.cpuPercent or autoscaling.checksPerSecond" -}}
{{- end -}}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled -}}
{{- fail "monitoring.serviceMonitor and monitoring.podMonitor would scrape each pod twice: enable one" -}}
{{- end -}}
{{- if and .Values.sharing.urlSecret .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- fail "sharing.urlSecret needs networkPolicy.egress to the store, and to DNS if the URL has a name: no connection leaves the pods otherwise" -}}
{{- end -}}
{{- if and .Values.sharing.tls.secretName (not .Values.sharing.urlSecret) -}}
{{- fail "sharing.tls needs sharing.urlSecret" -}}
{{- end -}}
{{- if and .Values.sharing.tls.clientCertificate (not .Values.sharing.tls.secretName) -}}
{{- fail "sharing.tls.clientCertificate needs sharing.tls.secretName, whose Secret has the certificate and its key" -}}
{{- end -}}
{{- if and .Values.rules.existingConfigMap .Values.rules.files -}}
{{- fail "rules.existingConfigMap takes the place of rules.files: set one" -}}
{{- end -}}
{{- end -}}
