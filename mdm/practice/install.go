package practice

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/workflow"
	"github.com/gomdm/applemdm/profile"
)

// ProfileSource makes profiles for devices, when they ask for them. It is safe for concurrent use.
type ProfileSource interface {
	// Profile returns the profile of this PayloadIdentifier as it goes to the enrollment: plain, signed or encrypted. It
	// returns [ErrWithdrawn] if e is not to have it any more. After another error the device gets it later.
	Profile(ctx context.Context, e *mdm.Enrollment, name string) ([]byte, error)
}

// ErrWithdrawn is the error of a [ProfileSource] whose profile is not to be installed any more. Its command is called off.
var ErrWithdrawn = errors.New("practice: the profile is withdrawn")

// ProfileFunc is a function as a [ProfileSource].
type ProfileFunc func(ctx context.Context, e *mdm.Enrollment, name string) ([]byte, error)

// Profile implements [ProfileSource].
func (f ProfileFunc) Profile(ctx context.Context, e *mdm.Enrollment, name string) ([]byte, error) {
	return f(ctx, e, name)
}

// installName is the argument of a recipe that says which profile.
const installName = "profile"

// InstallRecipe returns an InstallProfile that the cook of this name makes: see [InstallCook]. name is the PayloadIdentifier
// of the profile. traits is [command.PasscodeOnly] if it holds passcode policies alone, which a Mac takes while it
// sets up a user, and zero else.
func InstallRecipe(cook, name string, traits command.Traits) command.Recipe {
	return command.Recipe{Type: "InstallProfile", Name: cook, Args: map[string]string{installName: name}, Traits: traits}
}

// InstallCook returns the cook of an [InstallRecipe]. It asks source for the profile when the device asks for the command.
// The command is called off if the enrollment is not managed any more, if still (nil: nothing) returns an error that is
// [command.ErrCalledOff], or if source returns [ErrWithdrawn].
//
// A profile under another identifier could not be found and removed again, and one with a com.apple.mdm payload would replace
// the management: neither is sent.
func InstallCook(roster workflow.Roster, source ProfileSource, still func(ctx context.Context, e *mdm.Enrollment, name string) error) command.Cook {
	return func(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (command.Command, error) {
		name := args[installName]
		e, err := roster.Enrollment(ctx, id)
		if mdm.CodeOf(err) == mdm.NotFound || err == nil && e.State != mdm.Enrolled {
			return nil, fmt.Errorf("%w: the enrollment ended", command.ErrCalledOff)
		}
		if err != nil {
			return nil, err
		}
		if still != nil {
			if err := still(ctx, e, name); err != nil {
				return nil, err
			}
		}
		data, err := source.Profile(ctx, e, name)
		if errors.Is(err, ErrWithdrawn) {
			return nil, fmt.Errorf("%w: %w", command.ErrCalledOff, err)
		}
		if err != nil {
			return nil, err
		}
		if err := checkInstall(name, data); err != nil {
			return nil, err
		}
		return command.InstallProfile{Payload: data}, nil
	}
}

// checkInstall looks at a profile before a device sees it.
func checkInstall(name string, data []byte) error {
	const op = "practice.InstallCook"
	parsed, err := profile.Parse(data)
	if err != nil {
		return err
	}
	if parsed.Profile.Identifier != name {
		return mdm.Errorf(mdm.Malformed, op, "the profile is called %q, not %q", parsed.Profile.Identifier, name)
	}
	if slices.ContainsFunc(parsed.Profile.Payloads, func(p profile.Payload) bool { return p.PayloadType() == profile.TypeMDM }) {
		return mdm.Errorf(mdm.Forbidden, op, "%s would replace the management", name)
	}
	return nil
}

// installListed is a precondition: a hook still names the profile.
func installListed(names []string, err error, name string) error {
	if err == nil && !slices.Contains(names, name) {
		return fmt.Errorf("%w: %s is not wanted any more", command.ErrCalledOff, name)
	}
	return err
}
