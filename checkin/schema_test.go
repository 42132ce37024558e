package checkin_test

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/checkin"
	"github.com/gomdm/applemdm/internal/plistx"
	"github.com/gomdm/applemdm/internal/synth"
	"github.com/gomdm/applemdm/mdm/schema"
)

// fromSchema returns a message with every key, or the required ones, of Apple's schema. It marks both UDID and EnrollmentID
// as required, which exclude each other.
func fromSchema(kind string, full bool) map[string]any {
	object, _ := checkin.SchemaOf(kind)
	message := synth.Minimal(object)
	if full {
		message = synth.Full(object)
	}
	for _, key := range []string{"EnrollmentID", "EnrollmentUserID"} {
		delete(message, key)
	}
	message["MessageType"], message["UDID"] = kind, "UDID"
	return message
}

var kinds = []string{"Authenticate", "TokenUpdate", "CheckOut", "UserAuthenticate", "SetBootstrapToken", "GetBootstrapToken",
	"DeclarativeManagement", "GetToken", "ReturnToService"}

// The messages are written by hand, because they are routed while they are decoded. This holds them to Apple's schema.
func TestEveryMessageOfTheSchema(t *testing.T) {
	for _, kind := range kinds {
		for _, full := range []bool{true, false} {
			want := fromSchema(kind, full)
			data, err := plistx.Marshal(want)
			require.NoError(t, err)
			m, err := checkin.Decode(data)
			require.NoError(t, err, kind)
			assert.Equal(t, kind, m.MessageType())
			assert.Empty(t, extra(m), "%s: a key that the type does not have", kind)
			encoded, err := checkin.Encode(m)
			require.NoError(t, err)
			var got map[string]any
			require.NoError(t, plistx.Unmarshal(encoded, &got))
			assert.Equal(t, synth.Normal(want), synth.Normal(got), kind)
		}
	}
}

func extra(m checkin.Message) map[string]any {
	return reflect.ValueOf(m).Elem().FieldByName("Common").FieldByName("Extra").Interface().(map[string]any)
}

// A key of the wrong type is refused by name; in a message that nobody knows it is kept.
func TestWrongTypesInMessages(t *testing.T) {
	for _, kind := range kinds {
		object, _ := checkin.SchemaOf(kind)
		for _, k := range object.Keys {
			message := fromSchema(kind, true)
			if _, ok := message[k.Name]; !ok || k.Name == "MessageType" {
				continue
			}
			message[k.Name] = []any{"of another type"}
			data, err := plistx.Marshal(message)
			require.NoError(t, err)
			_, err = checkin.Decode(data)
			require.ErrorContains(t, err, k.Name, kind)
		}
	}
}

func TestUnknownKeysOfMessagesSurvive(t *testing.T) {
	for _, kind := range kinds {
		want := fromSchema(kind, true)
		want["NewKey"] = []any{"new", map[string]any{"Inner": true}}
		data, err := plistx.Marshal(want)
		require.NoError(t, err)
		m, err := checkin.Decode(data)
		require.NoError(t, err)
		encoded, err := checkin.Encode(m)
		require.NoError(t, err)
		var got map[string]any
		require.NoError(t, plistx.Unmarshal(encoded, &got))
		assert.Equal(t, synth.Normal(want), synth.Normal(got), kind)
	}
}

// What the service answers is what the schema says that devices read.
func TestRepliesKeepToTheSchema(t *testing.T) {
	k := newKit(t)
	cert := k.enrolled()
	k.service.Tokens = map[string]checkin.TokenSource{"com.apple.maid": hooks{}}
	k.service.Returns = hooks{}
	for _, m := range []checkin.Message{&checkin.GetToken{TokenServiceType: "com.apple.maid"}, &checkin.ReturnToService{}, &checkin.GetBootstrapToken{}} {
		_, reply, err := k.say(phone, cert, m)
		require.NoError(t, err)
		var body map[string]any
		require.NoError(t, plistx.Unmarshal(reply.Body, &body))
		_, object := checkin.SchemaOf(m.MessageType())
		require.NotNil(t, object)
		found := schema.Check(object, body, schema.Target{})
		assert.NoError(t, found.Err(), "%s: %s", m.MessageType(), reply.Body)
	}
	message, reply := checkin.SchemaOf("Unknown")
	assert.Nil(t, message)
	assert.Nil(t, reply)
}

// A vendor's classifier cannot do harm: what it calls a repetition or a renewal of a device that nobody knows is new.
func TestAClassifierThatIsWrong(t *testing.T) {
	for _, kind := range []checkin.Kind{checkin.Repeat, checkin.Renewal, checkin.Reenrollment, checkin.AfterWipe, 0, 99} {
		k := newKit(t)
		k.service.Classify = func(*checkin.Situation, *checkin.Request, *checkin.Authenticate) checkin.Kind { return kind }
		cert := k.enrolled()
		require.NotNil(t, k.rows[phone], kind)
		k.must(phone, cert, tokenUpdate("other"))
		assert.Equal(t, []byte("other"), k.rows[phone].PushToken, "%s", kind)
	}
}
