package migrate

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

var errProto = errors.New("not a message of MicroMDM")

// The messages of MicroMDM that are read, with the field numbers of the .proto files in its release 1.13.1: device.proto,
// device_command.proto, push.proto, user.proto, config.proto. Two of them differ from what one might think: MicroMDM never
// fills in the topic of a device, and the auth_token of a user is his push token.
type (
	protoDevice struct {
		uuid, udid, serial, osVersion, build, product, imei, meid string // 1 to 8
		token, magic, topic, unlockToken                          string // 9 to 12; token and unlockToken hexadecimal
		enrolled, awaiting                                        bool   // 13, 14
		name, model, modelName                                    string // 15 to 17
		bootstrapToken                                            []byte // 30
	}
	protoPush struct {
		token, magic, topic string // 2 to 4; token hexadecimal
	}
	protoUser struct {
		uuid, udid, id, shortName, longName string // 1 to 5
	}
	protoConfig struct {
		cert, key []byte // 1, 2; PEM
	}
)

// maxPending bounds the queue of one channel.
const maxPending = 100_000

// fields calls f for every field of a message. A value of a length-delimited field is a part of b, that of a varint is in n.
// Other types of fields are passed over; groups, which MicroMDM does not use, are refused.
func fields(b []byte, f func(num protowire.Number, n uint64, v []byte) error) error {
	for len(b) > 0 {
		num, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return errProto
		}
		b = b[size:]
		var n uint64
		var v []byte
		switch kind {
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			v, size = protowire.ConsumeBytes(b)
			if v == nil {
				v = []byte{}
			}
		case protowire.Fixed32Type, protowire.Fixed64Type:
			size = protowire.ConsumeFieldValue(num, kind, b)
			num = 0 // nobody's
		default:
			return errProto
		}
		if size < 0 {
			return errProto
		}
		b = b[size:]
		if err := f(num, n, v); err != nil {
			return err
		}
	}
	return nil
}

// text sets to, if it is not nil, to a string field.
func text(to *string, v []byte) error {
	switch {
	case to == nil || v == nil:
		return nil
	case !utf8.Valid(v):
		return errProto
	}
	*to = string(v)
	return nil
}

// pick returns the string of a field number, nil if there is none.
func pick(to []*string, num protowire.Number) *string {
	if num < 1 || int(num) > len(to) {
		return nil
	}
	return to[num-1]
}

func decodeDevice(b []byte) (d protoDevice, err error) {
	texts := []*string{&d.uuid, &d.udid, &d.serial, &d.osVersion, &d.build, &d.product, &d.imei, &d.meid, &d.token, &d.magic, &d.topic,
		&d.unlockToken, nil, nil, &d.name, &d.model, &d.modelName}
	err = fields(b, func(num protowire.Number, n uint64, v []byte) error {
		switch {
		case num == 13 && v == nil:
			d.enrolled = n != 0
		case num == 14 && v == nil:
			d.awaiting = n != 0
		case num == 30 && v != nil:
			d.bootstrapToken = append([]byte(nil), v...)
		default:
			return text(pick(texts, num), v)
		}
		return nil
	})
	return d, err
}

func decodePush(b []byte) (p protoPush, err error) {
	texts := []*string{nil, &p.token, &p.magic, &p.topic}
	err = fields(b, func(num protowire.Number, _ uint64, v []byte) error { return text(pick(texts, num), v) })
	return p, err
}

func decodeUser(b []byte) (u protoUser, err error) {
	texts := []*string{&u.uuid, &u.udid, &u.id, &u.shortName, &u.longName}
	err = fields(b, func(num protowire.Number, _ uint64, v []byte) error { return text(pick(texts, num), v) })
	return u, err
}

func decodeConfig(b []byte) (c protoConfig, err error) {
	err = fields(b, func(num protowire.Number, _ uint64, v []byte) error {
		switch num {
		case 1:
			c.cert = append([]byte(nil), v...)
		case 2:
			c.key = append([]byte(nil), v...)
		}
		return nil
	})
	return c, err
}

// decodeQueue returns the commands of a DeviceCommand without a final answer, in the order in which MicroMDM would send them:
// field 2, those in the queue, then field 5, those that were answered NotNow. It does not copy what is completed (3) or failed
// (4), which grows with time. MicroMDM turns its queue as it sends and keeps no times, so what was sent and not answered is
// behind what was not sent.
func decodeQueue(b []byte) (out []Command, err error) {
	var deferred []Command
	err = fields(b, func(num protowire.Number, _ uint64, v []byte) error {
		if num != 2 && num != 5 || v == nil {
			return nil
		}
		if len(out)+len(deferred) == maxPending {
			return errors.New("the queue is too long")
		}
		c, err := decodeCommand(v)
		if num == 2 {
			out = append(out, c)
		} else {
			deferred = append(deferred, c)
		}
		return err
	})
	return append(out, deferred...), err
}

func decodeCommand(b []byte) (c Command, err error) {
	err = fields(b, func(num protowire.Number, _ uint64, v []byte) error {
		switch num {
		case 1:
			return text(&c.UUID, v)
		case 2:
			c.Body = append([]byte(nil), v...)
		}
		return nil
	})
	return c, err
}
