package apns

import (
	"encoding/json"
	"errors"
	"net"
	"reflect"

	"github.com/gomdm/applemdm/internal/h2"
	"github.com/gomdm/applemdm/push"
)

const remoteError = "remote error" // crypto/tls's word for an alert that the peer sent

// certificateRefused reports whether err is the peer's TLS alert about our certificate (RFC 8446, section 6.2), which
// with TLS 1.3 arrives after the handshake, or the reason that APNs gave when it closed the connection.
func certificateRefused(err error) bool {
	if away, ok := errors.AsType[*h2.GoAwayError](err); ok {
		o, _ := reasonOf(away).Outcome()
		return o == push.BadCertificate
	}
	if _, proxy := errors.AsType[*proxyError](err); proxy {
		return false
	}
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != remoteError {
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

// reasonOf returns the reason in the debug data of a GOAWAY (Apple: "Sending notification requests to APNs").
func reasonOf(away *h2.GoAwayError) Reason {
	var debug struct {
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal(away.Debug, &debug)
	return Reason(debug.Reason)
}
