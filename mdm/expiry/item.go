package expiry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Kind says what sort of credential ends. The text is stable: vendors store and compare it, and may use kinds of their own.
type Kind string

// The kinds that the library knows what to do about.
const (
	PushCertificate   Kind = "push-certificate"   // what APNs knows the server by; the name is its topic
	VendorCertificate Kind = "vendor-certificate" // what signs requests for push certificates
	DeviceCA          Kind = "device-ca"          // what issues the identities of devices
	SCEPRA            Kind = "scep-ra"            // what SCEP messages are encrypted for, where that is not the CA
	TLSServer         Kind = "tls-server"         // what devices know the server by
	ProfileSigner     Kind = "profile-signer"     // what signs configuration profiles
	DEPToken          Kind = "dep-token"          // the server token of Automated Device Enrollment
	ContentToken      Kind = "content-token"      // the token of Apps and Books
	EnrollmentProfile Kind = "enrollment-profile" // what the MDM profile on the devices brings: roots, pins, its signer
)

// actions is what is to be done, in words that follow "expires in 7 days: ".
var actions = map[Kind]string{
	PushCertificate:   "renew it at identity.apple.com with the Apple Account that made it, or every device must enroll again",
	VendorCertificate: "renew it in the vendor's Apple Developer account, or nobody can request or renew a push certificate",
	DeviceCA:          "give every device an identity of a new CA, or none of them can authenticate any more",
	SCEPRA:            "replace it, or devices can neither enroll nor renew their identity",
	TLSServer:         "renew it, or no device can connect",
	ProfileSigner:     "renew it and sign the profiles again, or devices show them as not verified",
	DEPToken:          "download a new server token from Apple Business Manager or Apple School Manager, or devices are assigned no more",
	ContentToken:      "download a new content token from Apple Business Manager or Apple School Manager, or apps are assigned no more",
	EnrollmentProfile: "replace the MDM profile on every device before that date, or those that missed it must enroll again",
}

// Action says who must do what about a credential of this kind, and what happens otherwise.
func (k Kind) Action() string {
	if text := actions[k]; text != "" {
		return text
	}
	return "renew or replace it"
}

// Limits of what names an item, in bytes, so that a store can keep it.
const (
	MaxKind   = 64
	MaxTenant = 255
	MaxName   = 255
)

// Item is a credential that ends. Kind, Tenant and Name together tell it from all others: of two with the same ones, the
// earlier one is taken.
type Item struct {
	Kind     Kind
	Tenant   string // empty: the server's own, or the only tenant there is
	Name     string // which one of its kind, as a topic or an address
	NotAfter time.Time
	Action   string // who must do what, in words; empty: what Kind.Action says
}

// Source yields items. An error comes with what is known of the item that it stands in for, and does not end the rest: what can
// be told is told. It is safe for concurrent use, and returns when ctx ends.
type Source interface {
	Items(ctx context.Context) iter.Seq2[Item, error]
}

// SourceFunc is a function as a [Source].
type SourceFunc func(ctx context.Context) iter.Seq2[Item, error]

// Items calls f.
func (f SourceFunc) Items(ctx context.Context) iter.Seq2[Item, error] { return f(ctx) }

// Fixed is a Source of items that are known from the start.
func Fixed(items ...Item) Source {
	return SourceFunc(func(context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			for _, i := range items {
				if !yield(i, nil) {
					return
				}
			}
		}
	})
}

// One is a Source of one item whose end is asked for each time, as that of a token which a vendor keeps.
func One(i Item, ask func(ctx context.Context) (notAfter time.Time, err error)) Source {
	return SourceFunc(func(ctx context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			notAfter, err := ask(ctx)
			i := i
			i.NotAfter = notAfter
			yield(i, err)
		}
	})
}

// Dates is a Source of several items of a kind, by their names, whose ends are asked for each time, as those of what is in an
// enrollment profile: Dates(EnrollmentProfile, recipe.Dates). Dates that come with an error are taken, too.
func Dates(kind Kind, ask func(ctx context.Context) (notAfter map[string]time.Time, err error)) Source {
	return SourceFunc(func(ctx context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			dates, err := ask(ctx)
			for name, notAfter := range dates {
				if !yield(Item{Kind: kind, Name: name, NotAfter: notAfter}, nil) {
					return
				}
			}
			if err != nil {
				yield(Item{Kind: kind}, err)
			}
		}
	})
}

// Change is a Source with each item of s changed, as to tell whose tenant's it is, or who is to act in this company.
func Change(s Source, f func(Item) Item) Source {
	return SourceFunc(func(ctx context.Context) iter.Seq2[Item, error] {
		return func(yield func(Item, error) bool) {
			for i, err := range s.Items(ctx) {
				if !yield(f(i), err) {
					return
				}
			}
		}
	})
}

// SourceError is what a source could not tell. [Calendar.Items] returns them joined.
type SourceError struct {
	Kind   Kind // what is known of the item: each may be empty
	Tenant string
	Name   string
	Err    error
}

// Error describes the error.
func (e *SourceError) Error() string {
	what := strings.Join(strings.Fields(fmt.Sprintf("%s %s %s", e.Kind, e.Tenant, e.Name)), " ")
	if what == "" {
		what = "a source"
	}
	return fmt.Sprintf("expiry: %s: %v", what, e.Err)
}

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// What may be wrong with an item.
var (
	ErrNoEnd   = errors.New("it does not say when it ends")
	ErrTooLong = errors.New("its kind, tenant or name is too long")
)

// check returns i completed, or why it cannot be taken.
func (i Item) check() (Item, error) {
	switch {
	case i.NotAfter.IsZero():
		return i, ErrNoEnd
	case len(i.Kind) > MaxKind, len(i.Tenant) > MaxTenant, len(i.Name) > MaxName:
		return i, ErrTooLong
	}
	if i.Action == "" {
		i.Action = i.Kind.Action()
	}
	// seconds, as certificates have, so that what a store returns is equal
	i.NotAfter = i.NotAfter.UTC().Truncate(time.Second)
	return i, nil
}

// key tells one credential from all others.
type key struct {
	kind         Kind
	tenant, name string
}

func (i Item) key() key { return key{i.Kind, i.Tenant, i.Name} }
