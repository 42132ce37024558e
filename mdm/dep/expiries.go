package dep

import (
	"context"
	"iter"

	"github.com/gomdm/applemdm/mdm/expiry"
)

// Expiries is a source of when the tokens of a tenant's servers end, for an [expiry.Calendar].
func Expiries(store Store, tenant string) expiry.Source {
	return expiry.SourceFunc(func(ctx context.Context) iter.Seq2[expiry.Item, error] {
		return func(yield func(expiry.Item, error) bool) {
			for v, err := range store.Servers(ctx, tenant) {
				if err != nil {
					yield(expiry.Item{Kind: expiry.DEPToken, Tenant: tenant}, err)
					return
				}
				if v.Token.Expires.IsZero() {
					continue // none was imported yet
				}
				if !yield(expiry.Item{Kind: expiry.DEPToken, Tenant: tenant, Name: v.Name, NotAfter: v.Token.Expires}, nil) {
					return
				}
			}
		}
	})
}
