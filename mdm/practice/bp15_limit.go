package practice

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gomdm/applemdm/mdm/audit"
)

// guardPage is how many entries of the audit log are read at once, going back in time.
const guardPage = 200

// overLimit counts the requests before e, which was appended already. So of two that come at once, one is before the other,
// whichever process takes them.
func (g *Guard) overLimit(ctx context.Context, e *audit.Entry) (string, error) {
	limit, per := g.Limit, waitOr(g.LimitPer, time.Hour)
	if limit == 0 {
		limit = 3
	}
	if limit < 0 {
		return "", nil
	}
	requests, err := g.requestsBefore(ctx, e, e.At.Add(-per))
	if err != nil {
		return "", err
	}
	device, actor := 0, 0
	for _, r := range requests {
		if r.Enrollment == e.Enrollment {
			device++
		}
		if guardSame(r.Actor, e.Actor) {
			actor++
		}
	}
	switch {
	case device >= limit:
		return fmt.Sprintf("the limit of %d for a device within %s is used up", limit, per), nil
	case actor >= limit:
		return fmt.Sprintf("the limit of %d for an actor within %s is used up", limit, per), nil
	}
	return "", nil
}

// guardSame reports whether two names are one person's, however they are written.
func guardSame(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

// requestsBefore returns the requests before e and after a time that were not refused.
func (g *Guard) requestsBefore(ctx context.Context, e *audit.Entry, since time.Time) ([]audit.Entry, error) {
	found, refused := map[int64]audit.Entry{}, map[string]bool{}
	look := func(entry audit.Entry) {
		switch {
		case entry.Action == GuardRequested && entry.Number < e.Number && entry.At.After(since):
			found[entry.Number] = entry
		case entry.Action == GuardRefused:
			refused[entry.Details["request"]] = true
		}
	}
	limit := 0 // the first page goes to the end of the log: refusals may have come meanwhile
	for upTo := e.Number; upTo > 0; limit = guardPage {
		after, reached := max(upTo-1-guardPage, 0), false
		for entry, err := range g.Audit.Entries(ctx, e.Tenant, after, limit) {
			if err != nil {
				return nil, err
			}
			reached = reached || entry.Number == after+1 && !entry.At.After(since)
			look(entry)
		}
		if upTo = after + 1; reached || after == 0 {
			break
		}
	}
	var out []audit.Entry
	for number, entry := range found {
		if !refused[strconv.FormatInt(number, 10)] {
			out = append(out, entry)
		}
	}
	return out, nil
}
