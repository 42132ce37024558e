package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"sync"

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

// simulate enrolls n devices over the network and lets them live.
func (a *app) simulate(ctx context.Context, n int) error {
	products := []string{"iPhone15,2", "iPad14,1", "Mac14,2", "AppleTV14,1", "RealityDevice14,1"}
	var group sync.WaitGroup
	for i := range n {
		d := mdmtest.NewDevice(mdmtest.Config{Name: fmt.Sprintf("Simulated %d", i+1), ProductName: products[i%len(products)],
			RootCAs: a.pki.roots(), APNs: a.apns})
		if err := d.Enroll(ctx, a.base+"/enroll.mobileconfig"); err != nil {
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

func randomToken() string {
	b := make([]byte, 24)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}
