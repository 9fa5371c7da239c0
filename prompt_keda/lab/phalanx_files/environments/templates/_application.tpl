{{- /* The namespace and the Application of the application .name, unless the environment leaves it out. */ -}}
{{- define "application" -}}
{{- if index .root.Values.applications .name }}
apiVersion: v1
kind: Namespace
metadata:
  name: {{ .name }}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  finalizers:
    - resources-finalizer.argocd.argoproj.io
spec:
  project: {{ .project }}
  destination:
    namespace: {{ .name }}
    server: https://kubernetes.default.svc
  source:
    repoURL: {{ .root.Values.repoUrl | quote }}
    targetRevision: {{ .root.Values.targetRevision | quote }}
    path: applications/{{ .name }}
    helm:
      parameters:
        - name: global.host
          value: {{ .root.Values.host | quote }}
        - name: global.baseUrl
          value: https://{{ .root.Values.host }}
        - name: global.vaultSecretsPath
          value: {{ .root.Values.vaultPathPrefix | quote }}
      valueFiles:
        - values.yaml
        - values-{{ .root.Values.name }}.yaml
  {{- with .syncOptions }}
  syncPolicy:
    syncOptions:
      {{- toYaml . | nindent 6 }}
  {{- end }}
{{- end }}
{{- end -}}
