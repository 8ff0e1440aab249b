"""What deployments/ has for Kubernetes, rendered by the real kubectl and Helm and then judged."""
