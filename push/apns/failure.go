package apns

import (
	"crypto/tls"
	"errors"
	"net"
	"reflect"
	"strings"
)

// certificateRefused reports whether err is the peer's TLS alert about our certificate (RFC 8446, section 6.2). With
// TLS 1.3 it arrives after the handshake, as the failure of the first request.
func certificateRefused(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	alert := reflect.ValueOf(op.Err) // crypto/tls does not export the type of its alerts, an uint8
	if alert.Kind() != reflect.Uint8 {
		return false
	}
	switch alert.Uint() {
	case 42, 43, 44, 45, 46, // bad, unsupported, revoked, expired, unknown certificate
		48, 49, 116: // unknown CA, access denied, certificate required
		return true
	}
	return false
}

// maxAttempts returns how often a push that failed with err may be tried in all.
func maxAttempts(err error) int {
	switch {
	case untouched(err):
		return 5
	case connectionLost(err):
		return 2
	}
	return 1
}

// untouched reports whether APNs said that it has not looked at the request (RFC 9113, section 8.7). net/http does not
// export these errors; should their texts change, the push is repeated once like others.
func untouched(err error) bool {
	text := err.Error()
	return strings.Contains(text, "graceful shutdown GOAWAY") || strings.Contains(text, "REFUSED_STREAM") ||
		strings.Contains(text, "client conn not usable")
}

// connectionLost reports whether err tells that an established connection broke, so that another may do better at
// once. It is by exclusion, as most of net/http's own errors have no types.
func connectionLost(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op != "read" && op.Op != "write" {
		return false // dial, proxy, alerts
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return false
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	return !untrusted && !notTLS && !errors.Is(err, errProtocol)
}
