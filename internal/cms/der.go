package cms

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The tags [0] and [1], which ASN.1 uses for optional parts.
const (
	primitive0   = casn1.Tag(0x80)
	constructed0 = casn1.Tag(0xa0)
	constructed1 = casn1.Tag(0xa1)
)

// der writes an element with parts as its content.
func der(tag casn1.Tag, parts ...[]byte) []byte {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	out := make([]byte, 0, headerSize(size)+size)
	return append(appendHeader(out, byte(tag), size), bytes.Join(parts, nil)...)
}

// indefinite writes an element of indefinite length with parts as its content.
func indefinite(tag casn1.Tag, parts ...[]byte) []byte {
	out := append([]byte{byte(tag), 0x80}, bytes.Join(parts, nil)...)
	return append(out, endOfContent, endOfContent)
}

func oid(id asn1.ObjectIdentifier) []byte {
	var b cryptobyte.Builder
	b.AddASN1ObjectIdentifier(id)
	return b.BytesOrPanic() // of constants: cannot fail
}

func number(n int64) []byte {
	var b cryptobyte.Builder
	b.AddASN1Int64(n)
	return b.BytesOrPanic() // of a number: cannot fail
}

// algorithm writes an AlgorithmIdentifier without parameters, or with those.
func algorithm(id asn1.ObjectIdentifier, parameters ...[]byte) []byte {
	return der(casn1.SEQUENCE, append([][]byte{oid(id)}, parameters...)...)
}

func null() []byte { return der(casn1.NULL) }

// issuerAndSerial writes the name of a certificate.
func issuerAndSerial(cert *x509.Certificate) []byte {
	var serial cryptobyte.Builder
	serial.AddASN1BigInt(cert.SerialNumber)
	return der(casn1.SEQUENCE, cert.RawIssuer, serial.BytesOrPanic()) // of a number: cannot fail
}

func headerSize(size int) int {
	n := 2
	if size >= 0x80 {
		for s := size; s > 0; s >>= 8 {
			n++
		}
	}
	return n
}

func appendHeader(out []byte, tag byte, size int) []byte {
	out = append(out, tag)
	if size < 0x80 {
		return append(out, byte(size))
	}
	n := headerSize(size) - 2
	out = append(out, 0x80|byte(n))
	for i := n - 1; i >= 0; i-- {
		out = append(out, byte(size>>(8*i)))
	}
	return out
}
