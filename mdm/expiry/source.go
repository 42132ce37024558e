package expiry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"

	"github.com/gomdm/applemdm/push"
)

// Topics is where push certificates are listed. A push.CertificateStore is one.
type Topics interface {
	PushTopics(ctx context.Context) ([]push.Topic, error)
}

// PushCertificates is a Source of all push certificates of a store. A store does not know whose they are: with more than one
// tenant, [Change] can tell.
func PushCertificates(topics Topics) Source {
	return SourceFunc(func(ctx context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			all, err := topics.PushTopics(ctx)
			if err != nil {
				yield(Item{Kind: PushCertificate}, err)
				return
			}
			for _, t := range all {
				if !yield(Item{Kind: PushCertificate, Name: t.Name, NotAfter: t.NotAfter}, nil) {
					return
				}
			}
		}
	})
}

// Chain is a Source of a certificate and those above it, which are always the same, as those of a scep.CA. It ends when the
// first of them does, and the text says which one that is.
func Chain(kind Kind, name string, chain ...*x509.Certificate) Source {
	return Certificates(kind, name, func(context.Context) ([]*x509.Certificate, error) { return chain, nil })
}

// Certificates is a [Chain] that is looked up each time.
func Certificates(kind Kind, name string, chain func(ctx context.Context) ([]*x509.Certificate, error)) Source {
	return SourceFunc(func(ctx context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			i := Item{Kind: kind, Name: name}
			certs, err := chain(ctx)
			if err == nil {
				i, err = i.of(certs)
			}
			yield(i, err)
		}
	})
}

// TLS is a Source of what this process serves with, as from a file that is read again. What devices see may be another one, if
// a proxy is between: ask [Server] for that.
func TLS(name string, certificate func() (*tls.Certificate, error)) Source {
	return Certificates(TLSServer, name, func(context.Context) ([]*x509.Certificate, error) {
		pair, err := certificate()
		if err != nil || pair == nil {
			return nil, err
		}
		return parse(pair.Certificate)
	})
}

func parse(raw [][]byte) ([]*x509.Certificate, error) {
	chain := make([]*x509.Certificate, 0, len(raw))
	for n, der := range raw {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", n+1, err)
		}
		chain = append(chain, cert)
	}
	return chain, nil
}

var errNoCertificate = errors.New("there is no certificate")

// of returns i with the end of a chain.
func (i Item) of(chain []*x509.Certificate) (Item, error) {
	var first *x509.Certificate
	place := 0
	for n, cert := range chain {
		if cert != nil && (first == nil || cert.NotAfter.Before(first.NotAfter)) {
			first, place = cert, n
		}
	}
	if first == nil {
		return i, errNoCertificate
	}
	i.NotAfter = first.NotAfter
	if i.Action == "" {
		i.Action = i.Kind.Action()
	}
	if place > 0 {
		i.Action = fmt.Sprintf("certificate %d of the chain, %.100q, is the first to end: %s", place+1, first.Subject, i.Action)
	}
	return i, nil
}
