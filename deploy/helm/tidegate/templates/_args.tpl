{{- /* The command line. */ -}}
{{- define "tidegate.args" -}}
{{- $fullname := include "tidegate.fullname" . -}}
{{- $address := .Values.listenAddress -}}
- serve
- --config=/etc/tidegate/rules
{{- if .Values.rules.mergeDomains }}
- --merge-domains
{{- end }}
- --grpc-addr={{ $address }}:8081
- --http-addr={{ ternary $address "127.0.0.1" .Values.json.enabled }}:8080
- --json={{ ternary "on" "off" .Values.json.enabled }}
- --metrics-addr={{ $address }}:9090
- --admin-addr={{ ternary $address "127.0.0.1" .Values.admin.service.enabled }}:8082
{{- with .Values.tls.grpc }}
{{- if .secretName }}
- --grpc-tls-cert=/etc/tidegate/tls/grpc/tls.crt
- --grpc-tls-key=/etc/tidegate/tls/grpc/tls.key
{{- if .clientCA }}
- --grpc-tls-client-ca=/etc/tidegate/tls/grpc/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.tls.http.secretName }}
- --http-tls-cert=/etc/tidegate/tls/http/tls.crt
- --http-tls-key=/etc/tidegate/tls/http/tls.key
{{- end }}
{{- if .Values.tls.admin.secretName }}
- --admin-tls-cert=/etc/tidegate/tls/admin/tls.crt
- --admin-tls-key=/etc/tidegate/tls/admin/tls.key
{{- end }}
{{- if .Values.access.clients }}
- --access=/etc/tidegate/access/clients.yaml
{{- end }}
{{- if .Values.admin.tokensSecret }}
- --admin-tokens=/etc/tidegate/tokens/tokens.yaml
{{- end }}
{{- if .Values.admin.service.enabled }}
{{- if .Values.admin.open }}
- --admin-open
{{- end }}
{{- $service := printf "%s-admin" $fullname }}
{{- $namespaced := printf "%s.%s" $service .Release.Namespace }}
- --admin-host={{ join "," (list $service $namespaced (printf "%s.svc" $namespaced) (printf "%s.svc.cluster.local" $namespaced)) }}
{{- end }}
{{- with .Values.sharing }}
{{- if .urlSecret }}
- --store=@/etc/tidegate/store/{{ .urlKey }}
- {{ printf "--store-prefix=%s" .prefix | quote }}
- --store-timeout={{ .timeout }}
- --store-when-down={{ .whenDown }}
{{- if .replicas }}
- --store-replicas={{ .replicas }}
{{- end }}
{{- if .required }}
- --store-required
{{- end }}
{{- if .tls.secretName }}
- --store-ca=/etc/tidegate/tls/store/ca.crt
{{- if .tls.clientCertificate }}
- --store-cert=/etc/tidegate/tls/store/tls.crt
- --store-key=/etc/tidegate/tls/store/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if .Values.persistence.enabled }}
- --data-dir=/var/lib/tidegate
- --state-flush={{ .Values.persistence.stateFlush }}
- --history-max-bytes={{ .Values.persistence.historyMaxBytes }}
{{- end }}
- --drain={{ .Values.shutdown.drainSeconds }}s
- --shutdown-deadline={{ .Values.shutdown.deadlineSeconds }}s
{{- with .Values.counterMemory }}
- --counter-memory={{ . }}
{{- end }}
- --when-full={{ .Values.whenFull }}
{{- if .Values.workers }}
- --workers={{ .Values.workers }}
{{- end }}
- --usage-series={{ int .Values.usageSeries }}
- --denial-log={{ .Values.denialLog }}
- --settings={{ .Values.settings }}
- --log-format={{ .Values.log.format }}
- --log-level={{ .Values.log.level }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}
