//! The contracts of public manifests as flags, and the rules of precedence.

use super::*;

/// The flags of an environment, of lines `NAME=VALUE`, or the error.
fn flags(variables: &str) -> Result<Vec<String>, String> {
    prepared(&["/bin/ratelimit"], variables).map(|prepared| {
        let arguments = prepared.arguments.iter().map(|argument| argument.to_string_lossy().into_owned());
        arguments.skip(2).collect()
    })
}

fn prepared(line: &[&str], variables: &str) -> Result<Prepared, String> {
    let arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
    let variables = variables.split_whitespace().filter_map(|line| line.split_once('='));
    let variables = variables.map(|(name, value)| (name.into(), value.into()));
    prepare(&arguments, variables).expect("the mode is on")
}

/// What is always there: the port that only shows, the age of connections, and the log.
const ALWAYS: [&str; 5] = [
    "--debug-addr=0.0.0.0:6070",
    "--max-connection-age=86400000000000ns",
    "--max-connection-age-grace=3600000000000ns",
    "--log-level=warn,tidegate::app=info,tidegate::cli=info,tidegate::config=info,tidegate::engine_link=info,tidegate::xds=info",
    "--log-format=text",
];

#[test]
fn variables_are_flags_that_clap_takes() {
    let root = "RUNTIME_ROOT=/data RUNTIME_SUBDIRECTORY=r";
    for (variables, expected) in [
        ("HOST=:: PORT=80", "--http-addr=[::]:80"),
        ("PORT=80", "--http-addr=0.0.0.0:80"),
        ("GRPC_HOST=10.0.0.1", "--grpc-addr=10.0.0.1:8081"),
        ("GRPC_UDS=/run/r.sock GRPC_PORT=1", "--grpc-addr=unix:/run/r.sock"),
        ("DEBUG_HOST=127.0.0.1 DEBUG_PORT=0", "--debug-addr=127.0.0.1:0"),
        ("GRPC_MAX_CONNECTION_AGE=1h30m", "--max-connection-age=5400000000000ns"),
        (
            "GRPC_SERVER_USE_TLS=true GRPC_SERVER_TLS_CERT=c GRPC_SERVER_TLS_KEY=k GRPC_CLIENT_TLS_CACERT=a GRPC_CLIENT_TLS_SAN=s",
            "--grpc-tls-cert=c --grpc-tls-key=k --grpc-tls-client-ca=a --grpc-tls-client-san=s",
        ),
        ("LOG_LEVEL=info LOG_FORMAT=json", "--log-level=info --log-format=json"),
        (
            "LOG_LEVEL=FATAL",
            "--log-level=error,tidegate::app=info,tidegate::cli=info,tidegate::config=info,tidegate::engine_link=info,tidegate::xds=info",
        ),
        ("SHADOW_MODE=1 QUOTA_MODE=t", "--shadow-mode --quota-mode"),
        ("RESPONSE_DYNAMIC_METADATA=true MERGE_DOMAIN_CONFIG=True", "--merge-domains --dynamic-metadata"),
        ("STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT=true", "--count-no-denied"),
        ("NEAR_LIMIT_RATIO=0.9", "--near-limit-ratio=0.9"),
        ("LIMIT_RESPONSE_HEADERS_ENABLED=true", "--headers=draft-03"),
        (
            "LIMIT_RESPONSE_HEADERS_ENABLED=true LIMIT_RESET_HEADER=X-Reset",
            "--headers=draft-03 --header-names=RateLimit-Limit,RateLimit-Remaining,X-Reset",
        ),
        ("EXTRA_TAGS=zone:a,tier:b", "--metrics-label=zone=a,tier=b"),
        (
            "USE_PROMETHEUS=true PROMETHEUS_ADDR=127.0.0.1:19001 PROMETHEUS_PATH=/m",
            "--metrics-addr=127.0.0.1:19001 --metrics-path=/m",
        ),
        ("EXTRA_TAGS=git-commit:1.2,__x:y,9:z", "--metrics-label=git_commit=1.2,x=y,_9=z"),
        ("USE_STATSD=true", "--statsd=tcp://localhost:8125"),
        (
            "USE_STATSD=true STATSD_HOST=statsd STATSD_PORT=9125 STATSD_PROTOCOL=udp STATS_FLUSH_INTERVAL=1m",
            "--statsd=udp://statsd:9125 --statsd-interval=60000000000ns",
        ),
        // Set by Kubernetes for a Service called statsd.
        (
            "USE_STATSD=true STATSD_HOST=::1 STATSD_PORT=tcp://10.0.0.7:8125 STATS_FLUSH_INTERVAL=1ms",
            "--statsd=tcp://[::1]:8125 --statsd-interval=100000000ns",
        ),
        (
            "USE_STATSD=false USE_DOG_STATSD=true STATSD_HOST=agent STATSD_PROTOCOL=tcp",
            "--statsd=udp://agent:8125 --statsd-format=dogstatsd",
        ),
        ("HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED=true", "--domain-required"),
        ("TIDEGATE_STORE=variables REDIS_URL=redis:6379 REDIS_AUTH=secret", "--store=redis://:secret@redis:6379"),
    ] {
        let flags = flags(&format!("{root} {variables}")).unwrap();
        for flag in expected.split(' ') {
            assert!(flags.iter().any(|known| known == flag), "{variables}: no {flag} in {flags:?}");
        }
        let line = ["tidegate", "serve"].into_iter().chain(flags.iter().map(String::as_str));
        let parsed: Result<Cli, _> = clap::Parser::try_parse_from(line);
        assert_eq!(parsed.err().map(|error| error.to_string()), None, "{variables}");
    }
    let flags = flags(root).unwrap();
    assert_eq!(flags[..5], ALWAYS);
    assert_eq!(flags[5..], ["--config=/data/r/config"]);
}

#[test]
fn control_planes() {
    let given = "CONFIG_TYPE=GRPC_XDS_SOTW CONFIG_GRPC_XDS_SERVER_URL=dns:///gw:18001 CONFIG_GRPC_XDS_NODE_ID=n \
                 CONFIG_GRPC_XDS_SERVER_USE_TLS=true CONFIG_GRPC_XDS_CLIENT_TLS_CERT=c CONFIG_GRPC_XDS_CLIENT_TLS_KEY=k \
                 CONFIG_GRPC_XDS_SERVER_TLS_CACERT=a CONFIG_GRPC_XDS_SERVER_TLS_SAN=s FORCE_START_WITHOUT_INITIAL_CONFIG=true \
                 CONFIG_GRPC_XDS_NODE_METADATA=x=1,y:2 CONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS=a:b,c:d \
                 XDS_CLIENT_BACKOFF_INITIAL_INTERVAL=1s XDS_CLIENT_MAX_MSG_SIZE_IN_BYTES=99999999999";
    let expected = "--xds=https://gw:18001 --xds-node-id=n --xds-node-metadata=x=1,y=2 --xds-headers=a:b,c:d --xds-ca=a --xds-cert=c \
                    --xds-key=k --xds-server-name=s --xds-retry=1000000000ns --xds-max-bytes=67108864 --start-without-rules";
    assert_eq!(flags(given).unwrap()[5..].join(" "), expected);
    let plain = "CONFIG_TYPE=GRPC_XDS_SOTW CONFIG_GRPC_XDS_CLIENT_TLS_CERT=c";
    assert_eq!(flags(plain).unwrap()[5..], ["--xds=http://localhost:18000"]);
}

#[test]
fn what_means_nothing_is_an_error() {
    let root = "RUNTIME_SUBDIRECTORY=r";
    for (variables, expected) in [
        ("CONFIG_TYPE=GRPC RUNTIME_SUBDIRECTORY=r", "CONFIG_TYPE=GRPC: expected FILE"),
        ("RUNTIME_ROOT=/data", "RUNTIME_SUBDIRECTORY is not set: there would be no limits"),
        (&format!("{root} LOG_LEVEL=loud"), "LOG_LEVEL=loud: expected panic"),
        (&format!("{root} PORT=http"), "PORT=http: expected the number of a port"),
        (&format!("{root} GRPC_MAX_CONNECTION_AGE=soon"), "GRPC_MAX_CONNECTION_AGE=soon: expected a duration"),
        (&format!("{root} SHADOW_MODE=maybe"), "SHADOW_MODE=maybe: expected true or false"),
        (&format!("{root} GRPC_SERVER_USE_TLS=true"), "GRPC_SERVER_TLS_CERT is not set"),
        (&format!("{root} TRACING_ENABLED=true TRACING_EXPORTER_PROTOCOL=udp"), "TRACING_EXPORTER_PROTOCOL=udp"),
        (&format!("{root} USE_PROMETHEUS=true PROMETHEUS_ADDR=x"), "PROMETHEUS_ADDR=x: expected HOST:PORT"),
        (&format!("{root} USE_STATSD=true USE_DOG_STATSD=true"), "USE_STATSD and USE_DOG_STATSD are both true"),
        (&format!("{root} USE_STATSD=true STATSD_PORT=x"), "STATSD_PORT=x: expected the number of a port"),
        (&format!("{root} USE_STATSD=true STATSD_PROTOCOL=unix"), "STATSD_PROTOCOL=unix: expected tcp or udp"),
        (&format!("{root} USE_STATSD=true STATS_FLUSH_INTERVAL=10"), "STATS_FLUSH_INTERVAL=10: expected a duration"),
        (
            &format!("{root} USE_DOG_STATSD=true USE_DOG_STATSD_MOGRIFIERS=HITS"),
            "DOG_STATSD_MOGRIFIER_HITS_PATTERN is not set, and USE_DOG_STATSD_MOGRIFIERS names HITS",
        ),
        (
            &format!(
                "{root} USE_DOG_STATSD=true USE_DOG_STATSD_MOGRIFIERS=A DOG_STATSD_MOGRIFIER_A_PATTERN=( DOG_STATSD_MOGRIFIER_A_NAME=n"
            ),
            "DOG_STATSD_MOGRIFIER_A_PATTERN: regex parse error",
        ),
        (
            &format!(
                "{root} USE_DOG_STATSD=true USE_DOG_STATSD_MOGRIFIERS=A DOG_STATSD_MOGRIFIER_A_PATTERN=x DOG_STATSD_MOGRIFIER_A_NAME=n \
                 DOG_STATSD_MOGRIFIER_A_TAGS=k"
            ),
            "DOG_STATSD_MOGRIFIER_A_TAGS: expected TAG:VALUE",
        ),
    ] {
        let error = flags(variables).unwrap_err();
        assert!(error.starts_with(expected), "{variables}: {error}");
    }
}

#[test]
fn our_own_variables_and_flags_have_precedence() {
    let variables = "PORT=80 TIDEGATE_HTTP_ADDR=127.0.0.1:0 LOG_LEVEL=loud TIDEGATE_LOG_LEVEL=info CONFIG_TYPE=GRPC \
                     TIDEGATE_CONFIG=/etc/rules SHADOW_MODE=maybe";
    let Prepared { arguments, notes, .. } =
        prepared(&["ratelimit", "--shadow-mode", "--drain", "1s", "--unknown=x"], variables).unwrap();
    let line = arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ");
    assert!(line.starts_with("tidegate serve --shadow-mode --drain 1s --debug-addr"), "{line}");
    for absent in ["--http-addr", "--log-level", "--config", "unknown"] {
        assert!(!line.contains(absent), "{absent} in {line}");
    }
    assert_eq!(line.matches("--shadow-mode").count(), 1, "{line}");
    assert_eq!(notes.arguments, ["--unknown=x"]);
    assert!(notes.ignored.contains(&"PORT (another setting has precedence)".to_owned()), "{notes:?}");
}

#[test]
fn notes_name_variables_without_secrets_and_leave_out_those_of_others() {
    let variables = "RUNTIME_ROOT=/data RUNTIME_SUBDIRECTORY=r RUNTIME_WATCH_ROOT=false REDIS_URL=redis:6379 REDIS_AUTH=hunter2 \
                     REDIS_SOCKET_TYPE=tcp USE_STATSD=true STATSD_HOST=s GRPC_PORT=tcp://10.0.0.1:8081 PATH=/bin LOG_LEVEL=debug \
                     GRPC_SERVER_TLS_CA_CERT=/certs/ca.crt USE_REDIS=true";
    let Prepared { notes, reference, .. } = prepared(&["ratelimit"], variables).unwrap();
    let honoured =
        ["LOG_LEVEL=debug", "RUNTIME_ROOT=/data", "RUNTIME_SUBDIRECTORY=r", "STATSD_HOST=s", "USE_STATSD=true"];
    assert_eq!(notes.honoured, honoured);
    let ignored: Vec<_> = notes.ignored.iter().map(|note| note.split(' ').next().unwrap()).collect();
    let expected = ["GRPC_PORT", "GRPC_SERVER_TLS_CA_CERT", "REDIS_AUTH", "REDIS_SOCKET_TYPE", "REDIS_URL"];
    assert_eq!(ignored, expected);
    assert_eq!(notes.warnings.len(), 1, "Redis: {notes:?}");
    assert!(!format!("{notes:?}").contains("hunter2"));
    assert!(reference.any_file_name);
}

#[test]
fn statsd_has_the_tags_and_the_names_of_the_variables() {
    let variables = "RUNTIME_SUBDIRECTORY=r USE_DOG_STATSD=true EXTRA_TAGS=git-commit:1.2 USE_DOG_STATSD_MOGRIFIERS=HITS \
                     DOG_STATSD_MOGRIFIER_HITS_PATTERN=^a\\.(.*)$ DOG_STATSD_MOGRIFIER_HITS_NAME=b DOG_STATSD_MOGRIFIER_HITS_TAGS=k:$1 \
                     DOG_STATSD_MOGRIFIER_OTHER_NAME=c";
    let Prepared { reference, notes, .. } = prepared(&["ratelimit"], variables).unwrap();
    assert_eq!(reference.statsd_tags, Some(vec![("git-commit".to_owned(), "1.2".to_owned())]));
    let [rename] = &reference.statsd_renames[..] else { panic!("{reference:?}") };
    assert_eq!(rename.of("a.x"), Some(("b".to_owned(), vec![("k".to_owned(), "x".to_owned())])));
    for name in ["USE_DOG_STATSD=true", "USE_DOG_STATSD_MOGRIFIERS=HITS", "DOG_STATSD_MOGRIFIER_HITS_TAGS=k:$1"] {
        assert!(notes.honoured.iter().any(|known| known == name), "{name} in {notes:?}");
    }
    assert!(notes.ignored.iter().any(|note| note.starts_with("DOG_STATSD_MOGRIFIER_OTHER_NAME (")), "{notes:?}");

    let off = "RUNTIME_SUBDIRECTORY=r STATSD_HOST=s STATSD_PORT=tcp://10.0.0.7:8125 USE_DOG_STATSD_MOGRIFIERS=HITS";
    let Prepared { arguments, notes, .. } = prepared(&["ratelimit"], off).unwrap();
    assert!(arguments.iter().all(|argument| !argument.to_string_lossy().contains("statsd")), "{arguments:?}");
    assert!(notes.warnings.iter().any(|warning| warning.starts_with("STATSD_HOST is set")), "{notes:?}");
    for variables in ["DISABLE_STATS=true USE_STATSD=true", "USE_STATSD=false STATSD_HOST=s"] {
        let prepared = prepared(&["ratelimit"], &format!("RUNTIME_SUBDIRECTORY=r {variables}")).unwrap();
        assert!(
            prepared.arguments.iter().all(|argument| !argument.to_string_lossy().contains("statsd")),
            "{variables}"
        );
        assert!(prepared.notes.warnings.is_empty(), "{:?}", prepared.notes);
    }
}

#[test]
fn traces_are_off_unless_they_are_asked_for() {
    let otel = |variables: &str| {
        let all = prepared(&["ratelimit"], &format!("RUNTIME_SUBDIRECTORY=r {variables}")).unwrap().reference.otel;
        let shown = all.iter().map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("-")));
        shown.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        otel("OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317"),
        "OTEL_METRICS_EXPORTER=none OTEL_TRACES_EXPORTER=none"
    );
    let on = otel(
        "TRACING_ENABLED=true OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4317 TRACING_SAMPLING_RATE=0.6 TRACING_SERVICE_NAMESPACE=n",
    );
    assert_eq!(
        on,
        "OTEL_METRICS_EXPORTER=none OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf OTEL_TRACES_SAMPLER=parentbased_traceidratio \
         OTEL_TRACES_SAMPLER_ARG=0.6 OTEL_SERVICE_NAME=RateLimit OTEL_RESOURCE_ATTRIBUTES=service.namespace=n"
    );
}

#[test]
fn the_mode_is_on_by_name_or_by_flag_and_never_otherwise() {
    for (line, environment, is_on) in [
        (&["/bin/ratelimit"][..], "", true),
        (&["ratelimit", "-config", "x"], "", true),
        (&["ratelimit", "serve"], "", true),
        (&["tidegate", "serve", "--as-ratelimit"], "", true),
        (&["tidegate", "serve"], "TIDEGATE_AS_RATELIMIT=true", true),
        (&["tidegate", "serve", "rules.yaml"], "HOST=x", false),
        (&["tidegate"], "", false),
        (&["tidegate", "health"], "TIDEGATE_AS_RATELIMIT=true", false),
        // A probe in the image.
        (&["ratelimit", "health"], "", false),
        (&["ratelimit", "--help"], "", false),
    ] {
        let arguments: Vec<OsString> = line.iter().map(OsString::from).collect();
        let variables = environment.split_once('=').into_iter().map(|(name, value)| (name.into(), value.into()));
        assert_eq!(prepare(&arguments, variables).is_some(), is_on, "{line:?}");
    }
}
