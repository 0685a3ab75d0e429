//! TLS of the ports.

use std::path::PathBuf;

use clap::Args;

use crate::net::ServerFiles;

/// TLS of the ports.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS (PEM files, read again when they change)")]
pub(crate) struct TlsSettings {
    /// Certificate of the gRPC port, with its chain: the port then has TLS 1.2 and 1.3
    #[arg(long, env = "TIDEGATE_GRPC_TLS_CERT", value_name = "FILE", requires = "grpc_tls_key")]
    pub grpc_tls_cert: Option<PathBuf>,

    /// Key of the certificate
    #[arg(long, env = "TIDEGATE_GRPC_TLS_KEY", value_name = "FILE", requires = "grpc_tls_cert")]
    pub grpc_tls_key: Option<PathBuf>,

    /// CAs of clients of the gRPC port, which then need a certificate
    #[arg(long, env = "TIDEGATE_GRPC_TLS_CLIENT_CA", value_name = "FILE", requires = "grpc_tls_cert")]
    pub grpc_tls_client_ca: Option<PathBuf>,

    /// Name (DNS or URI) that the certificates of these clients need among their subject alternative names
    #[arg(long, env = "TIDEGATE_GRPC_TLS_CLIENT_SAN", value_name = "NAME", requires = "grpc_tls_client_ca")]
    pub grpc_tls_client_san: Option<String>,

    /// Certificate of the HTTP port
    #[arg(long, env = "TIDEGATE_HTTP_TLS_CERT", value_name = "FILE", requires = "http_tls_key")]
    pub http_tls_cert: Option<PathBuf>,

    /// Key of the certificate
    #[arg(long, env = "TIDEGATE_HTTP_TLS_KEY", value_name = "FILE", requires = "http_tls_cert")]
    pub http_tls_key: Option<PathBuf>,

    /// CAs of clients of the HTTP port, which then need a certificate
    #[arg(long, env = "TIDEGATE_HTTP_TLS_CLIENT_CA", value_name = "FILE", requires = "http_tls_cert")]
    pub http_tls_client_ca: Option<PathBuf>,

    /// Certificate of the admin port
    #[arg(long, env = "TIDEGATE_ADMIN_TLS_CERT", value_name = "FILE", requires = "admin_tls_key")]
    pub admin_tls_cert: Option<PathBuf>,

    /// Key of the certificate
    #[arg(long, env = "TIDEGATE_ADMIN_TLS_KEY", value_name = "FILE", requires = "admin_tls_cert")]
    pub admin_tls_key: Option<PathBuf>,

    /// CAs of clients of the admin port, which then need a certificate
    #[arg(long, env = "TIDEGATE_ADMIN_TLS_CLIENT_CA", value_name = "FILE", requires = "admin_tls_cert")]
    pub admin_tls_client_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// The files of each port that has some, by its name.
    pub(crate) fn files(&self) -> Vec<(&'static str, ServerFiles)> {
        let ports = [
            ("grpc", &self.grpc_tls_cert, &self.grpc_tls_key, &self.grpc_tls_client_ca),
            ("http", &self.http_tls_cert, &self.http_tls_key, &self.http_tls_client_ca),
            ("admin", &self.admin_tls_cert, &self.admin_tls_key, &self.admin_tls_client_ca),
        ];
        let files = |(port, cert, key, client_ca): (_, &Option<PathBuf>, &Option<PathBuf>, &Option<PathBuf>)| {
            let (cert, key) = (cert.clone()?, key.clone()?);
            let client_san = self.grpc_tls_client_san.clone().filter(|_| port == "grpc");
            Some((port, ServerFiles { cert, key, client_ca: client_ca.clone(), client_san }))
        };
        ports.into_iter().filter_map(files).collect()
    }
}
