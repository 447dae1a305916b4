//! `sinnet bench`: that it measures something, and says it in one line.

use serde_json::Value;
use tokio::time::timeout;

use crate::process::{SOON, command};

async fn bench(arguments: &[&str]) -> Value {
    let mut bench = command(&[&["bench"], arguments].concat());
    let output = timeout(SOON, bench.kill_on_drop(true).output()).await.expect("it ends soon").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

fn positive(result: &Value, fields: &[&str]) {
    for field in fields {
        assert!(result[field].as_f64().is_some_and(|value| value > 0.0), "{field} of {result}");
    }
}

#[tokio::test]
async fn bulk_reports_throughput_and_cpu_time() {
    let result = bench(&["bulk", "--size", "16384", "--seconds", "0.3"]).await;
    positive(&result, &["mbit_s", "cpu_s_per_gb", "seconds"]);
    assert_eq!((&result["bench"], &result["size"]), (&"bulk".into(), &16384.into()));
}

#[tokio::test]
async fn ping_reports_rates_and_percentiles() {
    let result = bench(&["ping", "--seconds", "0.2"]).await;
    positive(&result, &["rt_s", "p50_us", "p99_us", "count"]);
    assert!(result["p50_us"].as_f64() <= result["p99_us"].as_f64());
}

#[tokio::test]
async fn setup_reports_the_time_to_the_first_message() {
    let result = bench(&["setup", "--count", "5"]).await;
    positive(&result, &["median_ms", "p95_ms"]);
    assert_eq!(result["count"], 5);
}

#[tokio::test]
async fn idle_reports_memory_per_connection() {
    let result = bench(&["idle", "--count", "20", "--seconds", "0.1"]).await;
    positive(&result, &["rss_kib"]);
    assert!(result["rss_kib_per_conn"].as_f64().is_some_and(|kib| kib >= 0.0), "{result}");
}

#[tokio::test]
async fn load_loses_no_websocket_and_no_join() {
    let output =
        command(&["load", "--sockets", "30", "--joins", "30", "--seconds", "1"]).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (name, value) in [("sockets", 30), ("lost", 0), ("joins", 30), ("joins_failed", 0)] {
        assert_eq!(result[name], value, "{name} in {result}");
    }
    assert!(result["rss_kib"].as_u64() > Some(1000), "{result}");
}
