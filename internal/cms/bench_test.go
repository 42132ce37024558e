package cms_test

import (
	"bytes"
	"testing"

	"github.com/gomdm/applemdm/internal/cms"
)

// BenchmarkVerifyDetached is what a server does for every message with an Mdm-Signature, from BER to the verdict.
func BenchmarkVerifyDetached(b *testing.B) {
	for name, s := range map[string]signer{"rsa": rsaSigner(), "ec": ecSigner()} {
		b.Run(name, func(b *testing.B) {
			message := sign(b, s, captured)
			b.ReportAllocs()
			for b.Loop() {
				signed, err := cms.ParseSigned(message, cms.Limits{})
				if err != nil {
					b.Fatal(err)
				}
				if err := signed.VerifyDetached(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkToDER(b *testing.B) {
	for name, message := range map[string][]byte{
		"signature": sign(b, rsaSigner(), captured),
		"tiny":      open(0x30, bytes.Repeat([]byte{5, 0}, 19_000)),
		"large":     open(0x30, open(0x24, bytes.Repeat(el(4, make([]byte, 1000)), 1000))),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := cms.ToDER(message, cms.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
