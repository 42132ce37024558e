package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/mdm"
	"github.com/gomdm/applemdm/mdm/schema"
)

// Recipe is a command that is made when the device asks for it, by the [Cook] of its name: for what would be stale by then,
// as a profile with a challenge that expires, and for what must not be sent if something is not so any more. It is queued
// like any command. It is held against the target as far as its type goes; its keys are when they are there.
type Recipe struct {
	Type   string            // the RequestType of the command that it will be
	Name   string            // of the Cook
	Args   map[string]string // what the Cook needs to know; no secrets
	Traits Traits            // what the command will be, as ReplacesMDM; nobody can see it in the recipe
}

// RequestType implements [Command].
func (r Recipe) RequestType() string { return r.Type }

// Cook makes the command of a recipe for one enrollment. It is called again if the device did not get the command, so what it
// returns need not be the same. It has 20 seconds. It returns [ErrCalledOff], perhaps wrapped, if the command is not to be sent any
// more: it is canceled then, with the error as its note. After any other error the command is put off, as if the device had
// answered NotNow, and the next one on the queue is offered; the device is pushed again after [DeferredPush].
type Cook func(ctx context.Context, id mdm.EnrollmentID, args map[string]string) (Command, error)

// ErrCalledOff is the error of a [Cook] whose command must not be sent any more. It is canceled.
var ErrCalledOff = errors.New("command: called off")

// recipeKey is the key of a Command dictionary that is a recipe. No device gets to see it.
const recipeKey = "com.github.gomdm.applemdm.Recipe"

// unmade are the rules that cannot be asked of a command before it is made.
const unmade = schema.RuleRequired | schema.RuleCombination | schema.RuleUnknown

func (r Recipe) dictionary() map[string]any {
	args := make(map[string]any, len(r.Args))
	for key, value := range r.Args {
		args[key] = value
	}
	return map[string]any{recipeKey: map[string]any{"Name": r.Name, "Args": args, "Traits": uint64(r.Traits)}}
}

// recipeOf reads the recipe in a Command dictionary.
func recipeOf(dict map[string]any) (Recipe, bool) {
	in, ok := dict[recipeKey].(map[string]any)
	if !ok {
		return Recipe{}, false
	}
	r := Recipe{Args: map[string]string{}}
	r.Type, _ = dict["RequestType"].(string)
	r.Name, _ = in["Name"].(string)
	traits, _ := in["Traits"].(uint64)
	r.Traits = Traits(traits)
	args, _ := in["Args"].(map[string]any)
	for key, value := range args {
		r.Args[key], _ = value.(string)
	}
	return r, true
}

// traits are those that are said, and those that follow from the type.
func (r Recipe) traits() Traits { return r.Traits | traits(r.Type, nil) }

// RecipeOf reads the recipe in a message as stores keep it. It is false if the message is a command.
func RecipeOf(body []byte) (Recipe, bool) {
	if !bytes.Contains(body, []byte(recipeKey)) {
		return Recipe{}, false
	}
	var message struct{ Command map[string]any }
	if err := plistx.UnmarshalLimits(body, &message, plistx.Limits{Bytes: MaxBody}); err != nil {
		return Recipe{}, false
	}
	return recipeOf(message.Command)
}

// make turns an offer that is a recipe into the command. Other offers are left as they are.
func (s *Service) make(ctx context.Context, id mdm.EnrollmentID, offer *Offer) (*Offer, error) {
	recipe, ok := RecipeOf(offer.Body)
	if !ok {
		return offer, nil
	}
	cook := s.Cooks[recipe.Name]
	if cook == nil {
		return nil, fmt.Errorf("nobody makes %q", recipe.Name)
	}
	c, err := cooked(ctx, cook, id, recipe)
	if err != nil {
		return nil, err
	}
	item, err := Prepare(Order{Command: c, UUID: offer.UUID})
	if err != nil {
		return nil, err
	}
	if item.RequestType != recipe.Type {
		return nil, fmt.Errorf("%q made a %s, not a %s", recipe.Name, item.RequestType, recipe.Type)
	}
	// Whether a device was erased or renewed is told by what was sent, so the queue must have known.
	if item.Traits&^recipe.traits()&(ReplacesMDM|Erases) != 0 {
		return nil, fmt.Errorf("%q made what replaces the MDM profile or erases the device, which the Traits of the recipe do not say", recipe.Name)
	}
	return &Offer{UUID: item.UUID, RequestType: item.RequestType, Body: item.Body}, nil
}

// cookTime is how long a Cook has. It is less than a device waits: who is late would be asked for the same command again, and
// what is behind it would never be sent.
const cookTime = 20 * time.Second

func cooked(ctx context.Context, cook Cook, id mdm.EnrollmentID, r Recipe) (c Command, err error) {
	ctx, cancel := context.WithTimeout(ctx, cookTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the cook panicked: %v", p)
		}
	}()
	if c, err = cook(ctx, id, maps.Clone(r.Args)); err == nil && isNil(c) {
		err = errors.New("the cook made nothing")
	}
	return c, err
}

// serve makes what is offered. What cannot be made does not hold up what is behind it: it is put off, or canceled if it is called
// off, and the next one is offered.
func (s *Service) serve(ctx context.Context, r *Report, exchange func(*Report) (*Offer, error), offer *Offer) (*Offer, error) {
	for offer != nil {
		made, problem := s.make(ctx, r.ID, offer)
		if problem == nil {
			return made, nil
		}
		off := errors.Is(problem, ErrCalledOff)
		s.log(ctx, r.ID, offer, problem, off)
		next := &Report{ID: r.ID, Channel: r.Channel, Fingerprint: r.Fingerprint, Status: StatusNotNow, CommandUUID: offer.UUID,
			UserConfiguration: r.UserConfiguration, Unsent: &Unsent{CalledOff: off, Why: clipped(problem.Error())}, At: r.At}
		var err error
		if offer, err = exchange(next); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (s *Service) log(ctx context.Context, id mdm.EnrollmentID, o *Offer, err error, off bool) {
	if s.Logger == nil {
		return
	}
	level, text := slog.LevelWarn, "a command could not be made and is put off"
	if off {
		level, text = slog.LevelInfo, "a command is called off"
	}
	s.Logger.LogAttrs(ctx, level, text, slog.String("enrollment", id.String()), slog.String("command", o.UUID),
		slog.String("type", o.RequestType), slog.Any("error", err))
}
