package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gomdm/applemdm/mdm/dep"
	"github.com/gomdm/applemdm/mdm/mdmtest"
)

// serve runs the quick start until it is interrupted.
func serve(ctx context.Context, o options) error {
	if o.token == "" {
		o.token = randomToken()
	}
	a, err := newApp(ctx, o, o.simulate > 0)
	if err != nil {
		return err
	}
	defer a.Close()
	fmt.Printf("devices   %s/   (enrollment page)\nconsole   http://%s/#token=%s\ndata      %s\n", a.base, a.admin.Addr(), o.token, o.data)
	if a.apns == nil && o.pushCert == "" {
		fmt.Println("push      none: without -push-cert devices are not woken, commands wait until they connect")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	if o.simulate > 0 {
		group.Go(func() {
			if err := a.simulate(ctx, o.simulate); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	err = a.Run(ctx)
	cancel(err)
	group.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// simulate enrolls n devices over the network and lets them live. Every other one that can is ours by Apple's word and comes by
// itself; one more stays in its box.
func (a *app) simulate(ctx context.Context, n int) error {
	a.apple.buy("STILLINBOX", models[0])
	var group sync.WaitGroup
	for i := range n {
		m := models[i%len(models)]
		d := mdmtest.NewDevice(mdmtest.Config{Name: fmt.Sprintf("Simulated %d", i+1), ProductName: m.product, RootCAs: a.pki.roots(), APNs: a.apns,
			BuiltIn: a.factory})
		var err error
		if m.web && i%2 == 1 {
			err = a.setUp(ctx, d, m)
		} else {
			err = d.Enroll(ctx, a.base+"/enroll.mobileconfig")
		}
		if err != nil {
			return fmt.Errorf("simulated device %d: %w", i+1, err)
		}
		fmt.Printf("enrolled  %s (%d of %d)\n", d.ID(), i+1, n)
		group.Go(func() {
			if err := d.Run(ctx); err != nil && ctx.Err() == nil {
				a.log.LogAttrs(ctx, slog.LevelInfo, "simulated device left", slog.String("device", d.ID()), slog.Any("error", err))
			}
		})
	}
	group.Wait()
	return nil
}

// setUp buys a device and, when it was assigned, has its user go through Setup Assistant.
func (a *app) setUp(ctx context.Context, d *mdmtest.Device, m model) error {
	a.apple.buy(d.SerialNumber(), m)
	for {
		r, _, err := a.fromApple(ctx, "", d.SerialNumber())
		if err != nil {
			return err
		}
		if r.Device.ProfileStatus == dep.ProfileAssigned {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	assignment, err := a.apple.activate(d.SerialNumber())
	if err != nil {
		return err
	}
	_, err = d.SetupAssistant(ctx, mdmtest.Assistant{Assignment: assignment, Fill: signIn(adePassword)})
	return err
}

func randomToken() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}
