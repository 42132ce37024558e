package mdmtest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	apnsMaxHeaders = 16 << 10 // bytes of a header list as RFC 9113 counts them; a token may have 4096 bytes
	apnsMaxBlock   = 64 << 10 // bytes of a header block as it is sent
	apnsMaxID      = 64       // bytes of an apns-id that is sent back
)

// apnsHead is the header of a request.
type apnsHead struct {
	method, scheme, path, authority                 string
	topic, kind, priority, id, expiration, collapse string
	length                                          string

	size      int    // of all
	regular   bool   // there were other fields than pseudo-headers
	duplicate string // an apns- header that came twice
	malformed string // why it breaks RFC 9113
	others    []string
}

// field takes one field of the header.
func (h *apnsHead) field(f hpack.HeaderField) {
	h.size += int(f.Size())
	if h.size > apnsMaxHeaders {
		return // it is refused
	}
	pseudo := strings.HasPrefix(f.Name, ":")
	if pseudo && h.regular {
		h.malformed = "a pseudo-header after others"
	}
	h.regular = h.regular || !pseudo
	to := h.place(f.Name)
	switch {
	case to == nil:
		h.other(f, pseudo)
	case *to == "":
		*to = f.Value
	case pseudo || f.Name == "content-length":
		h.malformed = "two of " + f.Name
	case h.duplicate == "":
		h.duplicate = f.Name
	}
}

// place returns where the value of a known field belongs.
func (h *apnsHead) place(name string) *string {
	switch name {
	case ":method":
		return &h.method
	case ":scheme":
		return &h.scheme
	case ":path":
		return &h.path
	case ":authority":
		return &h.authority
	case "apns-topic":
		return &h.topic
	case "apns-push-type":
		return &h.kind
	case "apns-priority":
		return &h.priority
	case "apns-id":
		return &h.id
	case "apns-expiration":
		return &h.expiration
	case "apns-collapse-id":
		return &h.collapse
	case "content-length":
		return &h.length
	}
	return nil
}

func (h *apnsHead) other(f hpack.HeaderField, pseudo bool) {
	switch {
	case pseudo:
		h.malformed = "unknown " + f.Name
	case strings.ToLower(f.Name) != f.Name:
		h.malformed = "capitals in " + f.Name
	case strings.HasPrefix(f.Name, "apns-"):
		if slices.Contains(h.others, f.Name) && h.duplicate == "" {
			h.duplicate = f.Name
		}
		h.others = append(h.others, f.Name)
	case f.Name == "te" && f.Value == "trailers":
	case f.Name == "connection", f.Name == "transfer-encoding", f.Name == "upgrade", f.Name == "keep-alive",
		f.Name == "proxy-connection", f.Name == "te":
		h.malformed = f.Name + " is not for HTTP/2"
	}
}

// flaw returns why the request of this header and a body of length bytes breaks RFC 9113, or nothing.
func (h *apnsHead) flaw(length int) string {
	switch {
	case h.malformed != "":
		return h.malformed
	case h.method == "" || h.scheme == "" || h.path == "":
		return "no :method, :scheme or :path"
	case h.length != "" && h.length != strconv.Itoa(length):
		return "content-length is " + h.length + ", not " + strconv.Itoa(length)
	}
	return ""
}

// apnsAppendHead appends the header block of an answer. It refers to HPACK's static table alone, so every block is
// right whatever was sent before.
func apnsAppendHead(b []byte, status int, id string, retryAfter time.Duration) []byte {
	if status == 200 {
		b = append(b, 0x88) // :status: 200 of the static table
	} else {
		b = apnsAppendString(append(b, 0x08), strconv.Itoa(status)) // :status, with another value
	}
	b = append(b, 0, 7)
	b = append(b, "apns-id"...)
	b = apnsAppendString(b, id)
	if seconds := int64(retryAfter / time.Second); seconds > 0 {
		b = append(b, 0, 11)
		b = append(b, "retry-after"...)
		b = apnsAppendString(b, strconv.FormatInt(seconds, 10))
	}
	return b
}

// apnsAppendString appends a string literal of less than 127 bytes.
func apnsAppendString(b []byte, s string) []byte {
	return append(append(b, byte(len(s))), s...)
}
