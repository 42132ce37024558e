package dep

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"

	"github.com/gomdm/applemdm/internal/cms"
	"github.com/gomdm/applemdm/mdm"
)

const maxTokenFile = 256 << 10 // Apple's have some 3 KB

// ReadToken reads the file that Apple gives for a server, usually with a name that ends in _smime.p7m: an S/MIME message, or
// what is in one (CMS, DER or base64), encrypted to the certificate of the pair. Whether the token has expired is not looked
// at: see [Token.Check]. The error is Malformed, and wraps [ErrNotToken] or [ErrOtherKey] if the file is to blame.
func ReadToken(p7m []byte, pair KeyPair) (Token, error) {
	const op = "dep.ReadToken"
	if len(p7m) > maxTokenFile {
		return Token{}, mdm.Errorf(mdm.Malformed, op, "%w: it is too large", ErrNotToken)
	}
	cert, key, err := pair.parse(op)
	if err != nil {
		return Token{}, err
	}
	sealed, err := unwrapFile(p7m)
	if err != nil {
		return Token{}, mdm.Errorf(mdm.Malformed, op, "%w: %w", ErrNotToken, err)
	}
	content, err := cms.Decrypt(sealed, cert, key, cms.Limits{Bytes: maxTokenFile, Elements: 1000})
	switch {
	case errors.Is(err, cms.ErrDecrypt):
		return Token{}, mdm.Errorf(mdm.Malformed, op, "%w", ErrOtherKey)
	case err != nil:
		return Token{}, mdm.Errorf(mdm.Malformed, op, "%w: %w", ErrNotToken, err)
	}
	text, err := unwrapMessage(content)
	if err != nil {
		return Token{}, mdm.Errorf(mdm.Malformed, op, "%w: %w", ErrNotToken, err)
	}
	return ParseToken(text)
}

// unwrapFile returns the CMS message in a file.
func unwrapFile(file []byte) ([]byte, error) {
	if len(file) > 1 && file[0] == 0x30 && file[1] >= 0x80 { // a sequence of 128 bytes or more; no text has such a second byte
		return file, nil
	}
	file = bytes.TrimLeft(bytes.TrimPrefix(file, []byte("\xef\xbb\xbf")), " \t\r\n")
	if block, _ := pem.Decode(file); block != nil {
		if block.Type != "PKCS7" && block.Type != "CMS" {
			return nil, errors.New("it is a file of another kind in PEM")
		}
		return block.Bytes, nil
	}
	encoding, body, headed := cutHeaders(file)
	if !headed {
		encoding = "base64"
	}
	return decodeBody(encoding, body)
}

// unwrapMessage returns the JSON in what was decrypted: text with MIME headers, between two lines that mark it, and with
// lines that are broken anywhere.
func unwrapMessage(content []byte) ([]byte, error) {
	encoding, body, headed := cutHeaders(content)
	if headed {
		var err error
		if body, err = decodeBody(encoding, body); err != nil {
			return nil, err
		}
	}
	if _, after, ok := bytes.Cut(body, []byte("-----BEGIN MESSAGE-----")); ok {
		body, _, ok = bytes.Cut(after, []byte("-----END MESSAGE-----"))
		if !ok {
			return nil, errors.New("it is cut off")
		}
	}
	return dropBreaks(body), nil
}

// cutHeaders splits a MIME message into its transfer encoding, in small letters, and its body. What begins with no header has none.
func cutHeaders(message []byte) (encoding string, body []byte, headed bool) {
	body = message
	for first := true; ; first = false {
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 {
			if first {
				return "", message, false
			}
			return encoding, rest, true
		}
		if folded := line[0] == ' ' || line[0] == '\t'; folded && !first {
			body = rest
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isHeaderName(name) {
			return "", message, false
		}
		if strings.EqualFold(string(name), "Content-Transfer-Encoding") {
			encoding = strings.ToLower(strings.TrimSpace(string(value)))
		}
		body = rest
	}
}

func isHeaderName(name []byte) bool {
	for _, c := range name {
		if c != '-' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(name) > 0
}

// decodeBody undoes a transfer encoding of RFC 2045.
func decodeBody(encoding string, body []byte) ([]byte, error) {
	switch encoding {
	case "base64":
		text := strings.TrimRight(string(dropSpace(body)), "=")
		out, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			return nil, errors.New("it is not in base64")
		}
		return out, nil
	case "quoted-printable":
		out, err := io.ReadAll(quotedprintable.NewReader(bytes.NewReader(body)))
		if err != nil {
			return nil, errors.New("it is not in quoted-printable")
		}
		return out, nil
	case "", "7bit", "8bit", "binary":
		return body, nil
	}
	return nil, fmt.Errorf("it has the transfer encoding %q", printable(encoding))
}

func dropBreaks(b []byte) []byte { return drop(b, "\r\n") }

func dropSpace(b []byte) []byte { return drop(b, "\r\n \t") }

// drop leaves out these bytes.
func drop(b []byte, these string) []byte {
	out := make([]byte, 0, len(b))
	for _, c := range b {
		if strings.IndexByte(these, c) < 0 {
			out = append(out, c)
		}
	}
	return out
}
