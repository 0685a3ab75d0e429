{{- /* The pod of the Deployment or StatefulSet. */ -}}
{{- define "tidegate.pod" -}}
{{- $scheme := ternary "HTTPS" "HTTP" (ne .Values.tls.http.secretName "") -}}
metadata:
  labels:
    {{- include "tidegate.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "tidegate.serviceAccount" . }}
  automountServiceAccountToken: false
  # Variables such as TIDEGATE_PORT would look like settings.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add .Values.shutdown.preStopSeconds .Values.shutdown.deadlineSeconds 5 }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "tidegate.podSecurity" . | nindent 4 }}
  containers:
    - name: tidegate
      image: {{ include "tidegate.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- include "tidegate.args" . | fromYamlArray | toYaml | nindent 8 }}
      {{- with .Values.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: grpc, containerPort: 8081}
        {{- if .Values.json.enabled }}
        - {name: http, containerPort: 8080}
        {{- end }}
        - {name: metrics, containerPort: 9090}
        {{- if .Values.admin.service.enabled }}
        - {name: admin, containerPort: 8082}
        {{- end }}
      # Counters are read from the volume before the first answer.
      startupProbe:
        httpGet: {path: /readyz, port: metrics, scheme: {{ $scheme }}}
        periodSeconds: 1
        failureThreshold: 60
      readinessProbe:
        httpGet: {path: /readyz, port: metrics, scheme: {{ $scheme }}}
        periodSeconds: 2
        timeoutSeconds: 1
        failureThreshold: 2
      livenessProbe:
        httpGet: {path: /livez, port: metrics, scheme: {{ $scheme }}}
        periodSeconds: 10
        timeoutSeconds: 2
        failureThreshold: 3
      {{- if .Values.shutdown.preStopSeconds }}
      lifecycle:
        preStop: {sleep: {seconds: {{ .Values.shutdown.preStopSeconds }}}}
      {{- end }}
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      securityContext:
        {{- include "tidegate.containerSecurity" . | nindent 8 }}
      volumeMounts:
        # A directory, not a subPath: a file that is mounted by subPath is never updated.
        - {name: rules, mountPath: /etc/tidegate/rules, readOnly: true}
        {{- if .Values.tls.grpc.secretName }}
        - {name: tls-grpc, mountPath: /etc/tidegate/tls/grpc, readOnly: true}
        {{- end }}
        {{- if .Values.tls.http.secretName }}
        - {name: tls-http, mountPath: /etc/tidegate/tls/http, readOnly: true}
        {{- end }}
        {{- if .Values.tls.admin.secretName }}
        - {name: tls-admin, mountPath: /etc/tidegate/tls/admin, readOnly: true}
        {{- end }}
        {{- if .Values.access.clients }}
        - {name: access, mountPath: /etc/tidegate/access, readOnly: true}
        {{- end }}
        {{- if .Values.admin.tokensSecret }}
        - {name: tokens, mountPath: /etc/tidegate/tokens, readOnly: true}
        {{- end }}
        {{- if .Values.sharing.urlSecret }}
        - {name: store, mountPath: /etc/tidegate/store, readOnly: true}
        {{- if .Values.sharing.tls.secretName }}
        - {name: tls-store, mountPath: /etc/tidegate/tls/store, readOnly: true}
        {{- end }}
        {{- end }}
        {{- if .Values.persistence.enabled }}
        - {name: data, mountPath: /var/lib/tidegate}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: rules
      configMap: {name: {{ include "tidegate.rulesConfigMap" . }}}
    {{- with .Values.tls.grpc }}
    {{- if .secretName }}
    - name: tls-grpc
      secret: {secretName: {{ .secretName }}, defaultMode: 0440}
    {{- end }}
    {{- end }}
    {{- with .Values.tls.http.secretName }}
    - name: tls-http
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.tls.admin.secretName }}
    - name: tls-admin
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- if .Values.access.clients }}
    - name: access
      configMap: {name: {{ include "tidegate.fullname" . }}-access}
    {{- end }}
    {{- with .Values.admin.tokensSecret }}
    - name: tokens
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.sharing }}
    {{- if .urlSecret }}
    - name: store
      secret: {secretName: {{ .urlSecret }}, defaultMode: 0440}
    {{- if .tls.secretName }}
    - name: tls-store
      secret: {secretName: {{ .tls.secretName }}, defaultMode: 0440}
    {{- end }}
    {{- end }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpread }}
  topologySpreadConstraints:
    {{- range .Values.topologySpread }}
    - {{ toYaml . | nindent 6 | trim }}
      labelSelector:
        matchLabels:
          {{- include "tidegate.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
{{- end -}}
