package profile

import (
	"slices"
	"strings"

	"github.com/gomdm/applemdm/mdm/schema"
)

// place is where a value stands in Apple's schema. The zero place is one that the schema says nothing of.
type place struct {
	keys []schema.Key  // at the top of a payload or a profile: its keys
	open []*schema.Key // else: the keys that lead here, outermost first
	// guarded is set below a key that the schema does not know and whose name is that of a secret.
	guarded bool
}

// placeOf returns the top of a payload, typed or raw. keys is without PayloadType and PayloadVersion.
func placeOf(p Payload, keys map[string]any) place {
	d, ok := p.(described)
	if !ok || !isOurs(p) {
		if d, ok = typed(p.PayloadType(), keys).(described); !ok {
			return place{keys: commonpayloadkeysSchema.Keys}
		}
	}
	return placeIn(d.Schema())
}

// placeIn returns the top of a payload of a form.
func placeIn(o *schema.Object) place {
	return place{keys: slices.Concat(o.Keys, commonpayloadkeysSchema.Keys)}
}

// key returns the place of the value of a key of the dictionary that stands here.
func (p place) key(name string) place {
	keys := p.keys
	if len(p.open) > 0 {
		form := schema.Form(p.open)
		if form.Value != nil {
			return p.at(form.Value)
		}
		keys = form.Keys
	}
	for i := range keys {
		if keys[i].Name == name {
			return p.at(&keys[i])
		}
	}
	return place{guarded: p.guarded || soundsSecret(name)}
}

// item returns the place of the items of the array that stands here.
func (p place) item() place {
	if len(p.open) > 0 {
		if form := schema.Form(p.open); form.Item != nil {
			return p.at(form.Item)
		}
	}
	return place{guarded: p.guarded}
}

func (p place) at(k *schema.Key) place { return place{open: append(slices.Clip(p.open), k)} }

// last returns what the schema says of the value here, nil for nothing.
func (p place) last() *schema.Key {
	if len(p.open) == 0 {
		return nil
	}
	return p.open[len(p.open)-1]
}

// secret reports whether the value here is not to be shown: the schema says so, or it says nothing and the name does.
func (p place) secret() bool {
	if k := p.last(); k != nil {
		return k.Secret
	}
	return p.guarded
}

// secretWords are parts of the names that vendors give to keys of secrets.
var secretWords = []string{"password", "passwd", "passphrase", "passcode", "secret", "token", "credential", "privatekey", "private_key",
	"challenge", "apikey", "api_key", "licensekey", "license_key", "sharedkey"}

// soundsSecret guesses by the name of a key that the schema does not know.
func soundsSecret(key string) bool {
	key = strings.ToLower(key)
	return key == "pin" || slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(key, word) })
}

// joinPath returns steps as one path, as "Services.Camera[0].Allowed".
func joinPath(steps []string) string {
	var b strings.Builder
	for i, step := range steps {
		if i > 0 && !strings.HasPrefix(step, "[") {
			b.WriteByte('.')
		}
		b.WriteString(step)
	}
	return b.String()
}
