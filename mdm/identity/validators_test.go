package identity_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/identity"
)

func answers(err error, asked *int) identity.Validator {
	return identity.ValidatorFunc(func(context.Context, identity.Presented, identity.Claim) error {
		*asked++
		return err
	})
}

func TestAll(t *testing.T) {
	t.Parallel()
	var first, second, third int
	down := mdm.Errorf(mdm.Unavailable, "vendor", "down")
	validate := func(vs ...identity.Validator) error {
		return identity.All(vs...).Validate(t.Context(), identity.Presented{}, identity.Claim{ID: phone})
	}
	require.NoError(t, validate(answers(nil, &first), answers(nil, &second)))
	assert.Same(t, down, validate(answers(nil, &first), answers(down, &second), answers(nil, &third)), "as it is")
	assert.Equal(t, []int{2, 2, 0}, []int{first, second, third}, "the first error ends it")
	err := validate()
	require.Error(t, err)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err), "of none it passes nobody")

	list := []identity.Validator{answers(down, &first)}
	all := identity.All(list...)
	list[0] = answers(nil, &first)
	require.Error(t, all.Validate(t.Context(), identity.Presented{}, identity.Claim{}), "nobody changes it afterwards")
}

func TestNotRevoked(t *testing.T) {
	t.Parallel()
	down := errors.New("down")
	good, bad, unsure := mdm.Fingerprint{1}, mdm.Fingerprint{2}, mdm.Fingerprint{3}
	v := identity.NotRevoked(func(_ context.Context, fp mdm.Fingerprint) (bool, error) {
		if fp == unsure {
			return true, down
		}
		return fp == bad, nil
	})
	validate := func(fp mdm.Fingerprint) error {
		return v.Validate(t.Context(), identity.Presented{}, identity.Claim{ID: phone, Fingerprint: fp})
	}
	require.NoError(t, validate(good))
	err := validate(bad)
	require.Error(t, err)
	assert.Equal(t, mdm.Forbidden, mdm.CodeOf(err))
	err = validate(unsure)
	require.ErrorIs(t, err, down)
	assert.Equal(t, mdm.Unavailable, mdm.CodeOf(err), "an outage is no refusal")
	err = validate(mdm.Fingerprint{})
	require.Error(t, err, "a claim without a fingerprint passes nothing")
	assert.Equal(t, mdm.Internal, mdm.CodeOf(err))
}

func ExampleValidatorFunc() {
	// A vendor's own rule, beside the usual one.
	office := identity.ValidatorFunc(func(_ context.Context, p identity.Presented, _ identity.Claim) error {
		if p.Leaf.Issuer.CommonName != "intermediate" {
			return mdm.Errorf(mdm.Forbidden, "office", "not from our office")
		}
		return nil
	})
	fmt.Println(identity.All(office).Validate(context.Background(), identity.Presented{Leaf: device().cert}, identity.Claim{}))
	// Output: <nil>
}
