"""HTTP: TLS that is verified, failures in words, downloads and the chat's webhook."""
