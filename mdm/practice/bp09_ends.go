package practice

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/enroll"
	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/mdm/workflow"
)

// Ends tells what ends for one device: its identity as it is on record, and whatever else it holds for which its enrollment
// profile has to be replaced. What every profile of a recipe brings need not be among it. It is safe for concurrent use.
type Ends interface {
	Ends(ctx context.Context, e *mdm.Enrollment) ([]enroll.End, error)
}

// EndsFunc is a function as [Ends].
type EndsFunc func(ctx context.Context, e *mdm.Enrollment) ([]enroll.End, error)

// Ends calls f.
func (f EndsFunc) Ends(ctx context.Context, e *mdm.Enrollment) ([]enroll.End, error) {
	return f(ctx, e)
}

// IdentityEnds tells when the active identity of a device ends, as the ledger of a store has it. A device without one, as one
// that was imported and has not come yet, has no ends.
func IdentityEnds(store checkin.Store) Ends {
	return EndsFunc(func(ctx context.Context, e *mdm.Enrollment) ([]enroll.End, error) {
		var ends []enroll.End
		err := store.Update(ctx, checkin.Key{ID: e.ID.DeviceID()}, func(now *checkin.Situation) (checkin.Plan, error) {
			ends = nil // a transaction may be tried again
			if now.Active != nil {
				ends = []enroll.End{enroll.IdentityEnd(*now.Active)}
			}
			return checkin.Plan{}, nil // it only looks
		})
		return ends, err
	})
}

// endsIdentity returns the identity among ends, the zero End if there is none. Of several it is the one that ends last.
func endsIdentity(ends []enroll.End) enroll.End {
	var found enroll.End
	for _, e := range ends {
		if e.Kind == enroll.EndIdentity && e.NotAfter.After(found.NotAfter) {
			found = e
		}
	}
	return found
}

// endsWithout returns the ends that are not among others.
func endsWithout(ends, others []enroll.End) []enroll.End {
	var out []enroll.End
	for _, e := range ends {
		if !endsHold(others, e) {
			out = append(out, e)
		}
	}
	return out
}

func endsHold(ends []enroll.End, e enroll.End) bool {
	for _, other := range ends {
		if other.Kind == e.Kind && other.Fingerprint == e.Fingerprint && other.NotAfter.Equal(e.NotAfter) {
			return true
		}
	}
	return false
}

// ExpiringIdentities is the kind of what [Renewal.Expiry] yields.
const ExpiringIdentities expiry.Kind = "device-identities"

// Runs is where runs are read. A workflow.Store is one.
type Runs interface {
	Runs(ctx context.Context, q workflow.Query) iter.Seq2[workflow.Run, error]
}

// Expiry is a source for a calendar: one item for all devices of a tenant whose renewal is due and not done, with their number,
// as of the day on which the first of them is lost. Those whose renewal is not due are no concern of people. Nil: there is none.
func (r *Renewal) Expiry(runs Runs, tenant string) expiry.Source {
	return expiry.SourceFunc(func(ctx context.Context) iter.Seq2[expiry.Item, error] {
		return func(yield func(expiry.Item, error) bool) {
			item := expiry.Item{Kind: ExpiringIdentities, Tenant: tenant, Name: "enrollment profiles that are due"}
			count := 0
			for _, step := range []string{renewalDue, renewalAwait} {
				for run, err := range runs.Runs(ctx, workflow.Query{Tenant: tenant, Workflow: RenewalWorkflow, Step: step}) {
					if err != nil {
						yield(item, err)
						return
					}
					var s renewalState
					if run.Status.Over() || json.Unmarshal(run.State, &s) != nil || s.Deadline.IsZero() {
						continue
					}
					count++
					if item.NotAfter.IsZero() || s.Deadline.Before(item.NotAfter) {
						item.NotAfter = s.Deadline
					}
				}
			}
			if count == 0 {
				return
			}
			item.NotAfter = item.NotAfter.Truncate(24 * time.Hour) // not another item for each device
			item.Action = fmt.Sprintf("%d devices have a renewal outstanding: see that they come online, or they must enroll again", count)
			yield(item, nil)
		}
	})
}
