package migrate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

var (
	errDryRun = errors.New("a dry run writes nothing")
	errOrphan = errors.New("the device of this user was not imported")
)

// fate is what becomes of a channel.
type fate uint8

const (
	created fate = iota + 1
	refreshed
	unchanged
	kept
	orphaned
)

// imagined is what a dry run would have written, as far as later records depend on it.
type imagined struct {
	mu           sync.Mutex
	devices      map[mdm.EnrollmentID]bool
	certificates map[mdm.Fingerprint]string // which device claimed it first
}

// claim reports whether device is the first to have the certificate.
func (m *imagined) claim(fp mdm.Fingerprint, device string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	first, found := m.certificates[fp]
	if !found {
		m.certificates[fp] = device
	}
	return !found || first == device
}

func (m *imagined) enroll(id mdm.EnrollmentID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.devices[id] = true
}

func (m *imagined) enrolled(id mdm.EnrollmentID) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.devices[id]
}

// record imports one record. The error is one of the target or of the source; what is wrong with the record itself is in
// the report.
func (r *run) record(ctx context.Context, rec *Record) (Report, error) {
	out := Report{Position: rec.Position}
	switch {
	case rec.Err != nil:
		out.skip(rec.Position, rec.Err)
		return out, nil
	case rec.NotEnrolled != "":
		out.NotEnrolled++
		return out, nil
	}
	if err := rec.prepare(r.opts.Tenant); err != nil {
		out.skip(rec.Position, err)
		return out, nil
	}
	for _, p := range rec.Problems {
		out.skip(rec.Position, p)
	}
	return out, r.apply(ctx, rec, &out)
}

// apply writes the channel with its first certificate, then the other certificates, then the queue. If it is interrupted,
// doing it again completes it.
func (r *run) apply(ctx context.Context, rec *Record, out *Report) error {
	c := channel{rec: rec, imagined: r.imagined, at: micro(time.Now())}
	if err := r.update(ctx, c.key(0), c.decide); err != nil {
		return err
	}
	switch c.fate {
	case orphaned:
		out.skip(rec.Position, errOrphan)
		return nil
	case kept:
		out.Kept++
	default:
		if err := r.certificates(ctx, &c, out); err != nil {
			return err
		}
		r.count(rec, c.fate, out)
	}
	if !c.queues {
		return nil
	}
	return r.commands(ctx, rec, out)
}

// update is one transaction of the target; a dry run reads only.
func (r *run) update(ctx context.Context, key checkin.Key, decide func(*checkin.Situation) checkin.Plan) error {
	err := r.stores.Checkin.Update(ctx, key, func(s *checkin.Situation) (checkin.Plan, error) {
		plan := decide(s)
		if r.opts.DryRun {
			return checkin.Plan{}, errDryRun
		}
		return plan, nil
	})
	if errors.Is(err, errDryRun) {
		return nil
	}
	return err
}

// certificates writes those after the first, and notes which could not be bound.
func (r *run) certificates(ctx context.Context, c *channel, out *Report) error {
	for i, cert := range c.rec.Certificates {
		conflict := c.conflict
		if i > 0 {
			conflict = nil
			err := r.update(ctx, c.key(i), func(s *checkin.Situation) (plan checkin.Plan) {
				plan.Certificates, conflict = bind(&s.Standing, cert, c.at)
				return plan
			})
			if err != nil {
				return err
			}
		}
		if conflict == nil && r.imagined != nil && !r.imagined.claim(cert.Fingerprint, cert.Device) {
			conflict = errOthers
		}
		if conflict != nil {
			out.skip(c.rec.Position, fmt.Errorf("certificate %s: %w", cert.Fingerprint, conflict))
			continue
		}
		out.Certificates++
		c.bound = c.bound || cert.Status != mdm.CertificateRetired
	}
	if !c.bound && !c.rec.Enrollment.ID.IsUser() {
		out.Unbound++
	}
	return nil
}

func (r *run) count(rec *Record, f fate, out *Report) {
	if rec.Enrollment.ID.IsUser() {
		out.Users++
	} else {
		out.Enrollments++
		if r.imagined != nil {
			r.imagined.enroll(rec.Enrollment.ID)
		}
		if !rec.UnlockToken.IsZero() {
			out.UnlockTokens++
		}
		if !rec.BootstrapToken.IsZero() {
			out.BootstrapTokens++
		}
	}
	if f == unchanged {
		out.Unchanged++
	}
}

// commands queues what waits. A store knows by its UUID what it has or had on the queue, so repeating this queues nothing
// twice, answered or not.
func (r *run) commands(ctx context.Context, rec *Record, out *Report) error {
	if rec.Commands == nil {
		return nil
	}
	for c, err := range rec.Commands {
		if err != nil {
			return err
		}
		refused, err := r.enqueue(ctx, rec.Enrollment.ID, c)
		if err != nil {
			return err
		}
		if refused != nil {
			out.skip(rec.Position, fmt.Errorf("command %.64q: %w", c.UUID, refused))
			continue
		}
		out.Commands++
	}
	return nil
}

// enqueue queues one command as the source has it: its sender has answered for it, so no rule of the schema refuses it.
func (r *run) enqueue(ctx context.Context, id mdm.EnrollmentID, c Command) (refused, err error) {
	order := command.Order{Command: command.Raw(c.Body), UUID: c.UUID, To: mdm.IDs(id), NoPush: true, Relax: schema.AllRules}
	if r.opts.DryRun {
		_, refused = command.Prepare(order)
		return refused, nil
	}
	receipt, err := r.stores.Command.Enqueue(ctx, order)
	switch {
	case err != nil && mdm.CodeOf(err) == mdm.Malformed:
		return err, nil
	case err != nil:
		return nil, err
	case len(receipt.Refused) > 0:
		return receipt.Refused[0].Err, nil
	}
	return nil, nil
}
