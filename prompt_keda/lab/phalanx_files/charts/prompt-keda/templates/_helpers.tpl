{{- define "prompt-keda.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
{{- /* The pod of what works beside the workers: it ends well at once. */ -}}
{{- define "prompt-keda.helper-pod" -}}
restartPolicy: Never
serviceAccountName: {{ .Release.Name }}
imagePullSecrets: [{name: pull-secret}]
securityContext: {runAsNonRoot: true, runAsUser: 65532}
containers:
  - name: helper
    image: {{ .Values.initImage }}
    args: ["true"]
    resources: {requests: {cpu: 10m, memory: 16Mi}}
{{- end -}}
