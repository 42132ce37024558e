package sqlstore

import (
	"fmt"
	"time"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/dep"
)

// Statements returns the statements that devices' requests run, each for one row of arguments, so that tests can ask a
// database how it would run them.
func Statements(d *Dialect) []*Call {
	var out []*Call
	for _, o := range []*op{opIdle, opReport, opSituation, opTarget, opLock, opReset, opSent, opDefer, opArchive, opDequeue, opFinish, opErase,
		opNewEnrollment, opEnrollment, opCertificate, opSecret, opArchiveSecret, opCommand, opEnqueue, opEnqueueMany, opWake, opLeasePush,
		opFind, opSettle, opUnsent, opDead, opPark, opUnpark, opUnparkLater, opEnrolled, opPresence, opLook, opEvent, opDeliver, opSeen, opFanOutPart, opRow, opForget, opOrphan, opForgetAside, opForgetChallenge, opForgetRun, opForgetSession,
		opDevice} {
		row := make([]any, len(o.params))
		for i, p := range o.params {
			switch p.kind {
			case '$':
				row[i] = "x"
			case '#':
				row[i] = []byte("x")
			default:
				row[i] = int64(1)
			}
		}
		if o == opFinish && !d.Dollar {
			continue
		}
		out = append(out, o.calls(d, [][]any{row})...)
	}
	missed, args := filtered(selectRow, mdm.Filter{Tenant: "x", Presence: []mdm.Presence{mdm.Inactive}, After: mdm.EnrollmentID{Device: "x"}, Limit: 10})
	now := int64(1)
	out = append(out, depStatements(d)...)
	return append(out, &Call{Text: d.text(missed), Args: numbers(args)}, &Call{Text: d.text(dueQuery), Args: []any{now, now, int64(10)}},
		&Call{Text: d.text(lookQuery), Args: []any{now, now, int64(10)}}, &Call{Text: d.text(runsOf), Args: []any{"x", "x", "x"}},
		&Call{Text: d.text(runsOfAll), Args: []any{"x", "x"}}, &Call{Text: d.text(fmt.Sprintf(dueRuns, 0)), Args: []any{"x", now, now, int64(10)}},
		&Call{Text: d.text(lockSession), Args: []any{"x"}},
		&Call{Text: d.text(selectGroups), Args: []any{"x", "x", "x"}}, &Call{Text: d.text(otherGroups), Args: []any{now, "x"}},
		&Call{Text: d.text(deleteGroup), Args: []any{"x", "x", "x", "x"}},
		&Call{Text: d.text(deleteGroupOf), Args: []any{"x", "x", "x", now, "x"}}, &Call{Text: d.text(forgetGroups), Args: []any{now}},
		&Call{Text: d.text(endedSessions), Args: []any{now, int64(10)}})
}

// depStatements are those of what Apple tells of devices.
func depStatements(d *Dialect) (out []*Call) {
	add := func(query string, args []any) { out = append(out, &Call{Text: d.text(query), Args: numbers(args)}) }
	for _, n := range knownSizes {
		out = append(out, knownDevices(d, 1, make([]string, n), nil)...)
	}
	last := dep.Record{Serial: "x", Assignment: dep.Assignment{Due: time.Unix(1, 0)}}
	for _, q := range []dep.Query{{After: "x"}, {After: "x", Gone: true}, {NotRound: 1}, {DueBefore: time.Unix(1, 0)}} {
		query, args := devicePage(1, q, last, 10)
		add(query, args)
	}
	add(lockServer, []any{"x", "x"})
	add(forgetDevices, []any{int64(1), "x"})
	add(deviceRecords, []any{int64(1), "x", "x"})
	return out
}
