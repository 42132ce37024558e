package practice

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/gomdm/applemdm/mdm"
)

// A guardShelf is all that was ever kept of one kind of secret of one device: a row of slots in the vault, numbered from 1, each
// filled once and never changed. A slot has a value, or says which one is the current one from then on. So whatever is killed when,
// and however many write, a value that a device may have is there, and the current one is not lost for a candidate.
type guardShelf struct {
	vault GuardVault
	base  string
	last  int         // filled slots
	tip   guardRecord // in the last one
}

// guardRecord is what a slot holds.
type guardRecord struct {
	Kind    string `json:"kind"`
	Run     string `json:"run"`               // or the entry of the audit log that it belongs to
	Value   []byte `json:"value,omitempty"`   // of a candidate or a reply
	Current int    `json:"current,omitempty"` // slot of the candidate that is current from here on; 0: none
}

// Kinds of records. Of each kind there is one for a run.
const (
	guardCandidate = "candidate" // a value that the device may have
	guardCurrent   = "current"   // the candidate is the device's
	guardReverted  = "reverted"  // it is not: the one before is
	guardReply     = "reply"     // what a device sent and nobody could read
)

// shelf looks up what is kept.
func (g *Guard) shelf(ctx context.Context, id mdm.EnrollmentID, kind GuardedSecret) (*guardShelf, error) {
	if g.Vault == nil {
		return nil, mdm.Errorf(mdm.Internal, "practice.Guard", "there is no Guard.Vault")
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{id.Tenant, id.Device, id.User}, "\x00")))
	s := &guardShelf{vault: g.Vault, base: "guard/" + string(kind) + "/" + hex.EncodeToString(sum[:]) + "/"}
	hint, err := s.vault.Secret(ctx, s.base+"last")
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(string(hint.Reveal())); err == nil && n > 1 {
		s.last = n - 1
	}
	if err := s.forward(ctx); err != nil {
		return nil, err
	}
	if s.tip.Kind == "" && s.last > 0 { // the hint was wrong
		s.last = 0
		return s, s.forward(ctx)
	}
	return s, nil
}

// forward goes to the last slot.
func (s *guardShelf) forward(ctx context.Context) error {
	for {
		r, ok, err := s.slot(ctx, s.last+1)
		if err != nil || !ok {
			return err
		}
		s.last, s.tip = s.last+1, r
	}
}

func (s *guardShelf) name(n int) string { return fmt.Sprintf("%s%06d", s.base, n) }

func (s *guardShelf) slot(ctx context.Context, n int) (r guardRecord, ok bool, err error) {
	found, err := s.vault.Secret(ctx, s.name(n))
	if err != nil || found.IsZero() {
		return r, false, err
	}
	err = json.Unmarshal(found.Reveal(), &r)
	return r, err == nil, err
}

// guardLook is how many slots are looked through for a record that was written before, as by a process that was killed then.
const guardLook = 64

// find returns the slot of a record of a run, 0 if there is none.
func (s *guardShelf) find(ctx context.Context, kind, run string) (int, error) {
	for n := s.last; n > max(0, s.last-guardLook); n-- {
		r, _, err := s.slot(ctx, n)
		if err != nil {
			return 0, err
		}
		if r.Run == run && r.Kind == kind {
			return n, nil
		}
		if r.Run == run && r.Kind == guardCandidate { // nothing of a run is before it
			break
		}
	}
	return 0, nil
}

// add fills the next slot, unless there is a record of the kind for the run, and returns its number. If somebody else fills it,
// the next one is taken.
func (s *guardShelf) add(ctx context.Context, r guardRecord) (int, error) {
	if n, err := s.find(ctx, r.Kind, r.Run); n > 0 || err != nil {
		return n, err
	}
	for {
		if r.Kind == guardCandidate || r.Kind == guardReply {
			r.Current = s.tip.Current
		}
		data, err := json.Marshal(r)
		if err != nil {
			return 0, err
		}
		mine := mdm.NewSecret(data)
		stored, err := s.vault.CreateSecret(ctx, s.name(s.last+1), mine)
		if err != nil {
			return 0, err
		}
		s.tip = guardRecord{}
		if err := json.Unmarshal(stored.Reveal(), &s.tip); err != nil {
			return 0, err
		}
		s.last++
		if s.tip.Kind == r.Kind && s.tip.Run == r.Run {
			_ = s.vault.PutSecret(ctx, s.base+"last", mdm.SecretString(strconv.Itoa(s.last))) // it only makes looking quicker
			return s.last, nil
		}
	}
}

// value returns what is in a slot with a value.
func (s *guardShelf) value(ctx context.Context, n int) (mdm.Secret, error) {
	if n == 0 {
		return mdm.Secret{}, nil
	}
	r, _, err := s.slot(ctx, n)
	return mdm.NewSecret(r.Value), err
}

// current returns the current value, a zero Secret if there is none.
func (s *guardShelf) current(ctx context.Context) (mdm.Secret, error) {
	return s.value(ctx, s.tip.Current)
}

// keep adds a value and makes it the current one.
func (s *guardShelf) keep(ctx context.Context, run string, value mdm.Secret) error {
	n, err := s.add(ctx, guardRecord{Kind: guardCandidate, Run: run, Value: value.Reveal()})
	if err != nil {
		return err
	}
	_, err = s.add(ctx, guardRecord{Kind: guardCurrent, Run: run, Current: n})
	return err
}

// all returns every value, newest first.
func (s *guardShelf) all(ctx context.Context) (out []mdm.Secret, err error) {
	for n := s.last; n > 0; n-- {
		r, _, err := s.slot(ctx, n)
		if err != nil {
			return nil, err
		}
		if r.Kind == guardCandidate {
			out = append(out, mdm.NewSecret(r.Value))
		}
	}
	return out, nil
}
