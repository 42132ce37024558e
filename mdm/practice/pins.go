package practice

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"

	"github.com/gomdm/applemdm/mdm"
)

// PINs keeps the PINs that are made for devices, sealed. A storage.Vault is one.
type PINs interface {
	// CreateSecret stores a secret only if there is none of that name, and returns the one that is stored then.
	CreateSecret(ctx context.Context, name string, s mdm.Secret) (mdm.Secret, error)
	// Secret returns a zero Secret and no error if there is none.
	Secret(ctx context.Context, name string) (mdm.Secret, error)
}

// PINRequest is somebody who wants to read a PIN.
type PINRequest struct {
	Enrollment mdm.EnrollmentID
	Run        string // whose PIN it is
	Actor      string
	Reason     string

	// What a Guard asks for besides: see [ReleaseRequest].
	PossessionVerified bool
	Approver           string
	Approved           string
}

// pinDrawer has the PINs of one kind.
type pinDrawer struct {
	pins    PINs
	kind    GuardedSecret
	prefix  string
	release func(context.Context, PINRequest) error
	guard   *Guard
}

func (d pinDrawer) name(id mdm.EnrollmentID, run string) string {
	return d.prefix + "/" + id.String() + "/" + run
}

// make makes a PIN of six digits for a run, once: a step or a cook that is repeated gets the same.
func (d pinDrawer) make(ctx context.Context, id mdm.EnrollmentID, run string) (mdm.Secret, error) {
	if d.pins == nil {
		return mdm.Secret{}, errors.New("practice: there is nowhere to keep a PIN")
	}
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return mdm.Secret{}, err
	}
	return d.pins.CreateSecret(ctx, d.name(id, run), mdm.SecretString(fmt.Sprintf("%06d", n.Int64())))
}

// read gives out a PIN, after release has agreed, if there is one, and through the guard, if there is one. With neither it is
// Forbidden.
func (d pinDrawer) read(ctx context.Context, op string, r PINRequest) (mdm.Secret, error) {
	if err := machineAsked(op, r.Actor, r.Reason); err != nil {
		return mdm.Secret{}, err
	}
	if d.pins == nil || d.release == nil && d.guard == nil {
		return mdm.Secret{}, mdm.Errorf(mdm.Forbidden, op, "PINs are not given out here")
	}
	if d.release != nil {
		if err := d.release(ctx, r); err != nil {
			return mdm.Secret{}, err
		}
	}
	name := d.name(r.Enrollment, r.Run)
	if d.guard != nil {
		return d.guard.releasePIN(ctx, op, d.kind, r, func(ctx context.Context) (mdm.Secret, error) { return d.pins.Secret(ctx, name) })
	}
	pin, err := d.pins.Secret(ctx, name)
	if err == nil && pin.IsZero() {
		return mdm.Secret{}, mdm.Errorf(mdm.NotFound, op, "there is no PIN of that run")
	}
	return pin, err
}
