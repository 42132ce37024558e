package expiry_test

import (
	"context"
	"fmt"
	"time"

	"github.com/gomdm/applemdm/mdm/expiry"
	"github.com/gomdm/applemdm/push"
)

func ExampleCalendar() {
	var store expiry.Topics = topics{all: []push.Topic{{Name: "com.apple.mgmt.External.x", NotAfter: day(12, 5)}}} // Stores.PushCertificates
	c := &expiry.Calendar{Sources: []expiry.Source{
		expiry.PushCertificates(store),
		expiry.Fixed(expiry.Item{Kind: expiry.DEPToken, Name: "main", NotAfter: day(11, 1)}), // the vendor's certificate: Signer.NotAfter
		// expiry.Chain(expiry.DeviceCA, "devices", ca.Chain()...), expiry.Server{Addr: "mdm.example.org"}, …
	}}
	items, err := c.Items(context.Background())
	if err != nil {
		fmt.Println(err) // what could not be told; the items are all the others
	}
	now := day(11, 28)
	for _, i := range items {
		fmt.Println(i.NotAfter.Format(time.DateOnly), i.Kind, i.Name, i.DaysLeft(now), c.Due(i, now))
	}
	// Output:
	// 2026-11-01 dep-token main -27 expired
	// 2026-12-05 push-certificate com.apple.mgmt.External.x 7 7 days
}

// A Notifier runs beside the server.
func ExampleNotifier() {
	store := &notes{} // of the database
	n := &expiry.Notifier{
		Calendar: &expiry.Calendar{
			Sources: []expiry.Source{expiry.Fixed(expiry.Item{Kind: expiry.PushCertificate, Name: "com.apple.mgmt.External.x", NotAfter: day(12, 5)})},
			Stages: func(i expiry.Item) []expiry.Stage {
				if i.Kind == expiry.TLSServer {
					return []expiry.Stage{14, 3, expiry.Expired} // a machine renews it 30 days before
				}
				return nil // as DefaultStages
			},
		},
		Store: store,
		Clock: func() time.Time { return day(11, 28) },
	}
	for range 2 {
		if err := n.Look(context.Background()); err != nil { // a server calls go n.Run(ctx)
			fmt.Println(err)
		}
	}
	for _, e := range store.take() {
		fmt.Println(e.Type, e.Reason)
	}
	// Output:
	// credential.expiring push certificate com.apple.mgmt.External.x expires in 7 days, on 2026-12-05: renew it at identity.apple.com with the Apple Account that made it, or every device must enroll again
}
