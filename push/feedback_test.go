package push_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/gomdm/applemdm/push"
)

func tuple(since uint32, token ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, since)
	b = binary.BigEndian.AppendUint16(b, uint16(len(token)))
	return append(b, token...)
}

func readAll(r io.Reader) ([]push.InvalidToken, error) {
	var tokens []push.InvalidToken
	for token, err := range push.ReadFeedback(r) {
		if err != nil {
			return tokens, err
		}
		tokens = append(tokens, token)
	}
	return tokens, nil
}

func TestReadFeedback(t *testing.T) {
	t.Parallel()
	stream := append(tuple(1_400_000_000, 1, 2, 3), tuple(1_400_000_001, bytes.Repeat([]byte{7}, 32)...)...)
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(stream),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
	} {
		tokens, err := readAll(r)
		require.NoError(t, err, name)
		assert.Equal(t, []push.InvalidToken{
			{Token: []byte{1, 2, 3}, Since: time.Unix(1_400_000_000, 0).UTC()},
			{Token: bytes.Repeat([]byte{7}, 32), Since: time.Unix(1_400_000_001, 0).UTC()},
		}, tokens, name)
	}
	tokens, err := readAll(bytes.NewReader(nil))
	require.NoError(t, err)
	assert.Empty(t, tokens)
}

func TestReadFeedbackThatBreaksOff(t *testing.T) {
	t.Parallel()
	whole, broken := tuple(5, 1, 2), tuple(6, 3, 4)
	for cut := 1; cut < len(broken); cut++ {
		tokens, err := readAll(bytes.NewReader(append(bytes.Clone(whole), broken[:cut]...)))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "cut at %d", cut)
		assert.Len(t, tokens, 1, "cut at %d", cut)
	}
	reset := errors.New("reset")
	_, err := readAll(io.MultiReader(bytes.NewReader(whole), iotest.ErrReader(reset)))
	require.ErrorIs(t, err, reset)
}

func TestReadFeedbackStopsWhenTold(t *testing.T) {
	t.Parallel()
	r := bytes.NewReader(append(tuple(5, 1), tuple(6, 2)...))
	for range push.ReadFeedback(r) {
		break
	}
	assert.Equal(t, len(tuple(6, 2)), r.Len(), "the second is not read")
}

func FuzzReadFeedback(f *testing.F) {
	f.Add(tuple(1_400_000_000, 1, 2, 3))
	f.Add(append(tuple(0), 1))
	f.Add([]byte{0, 0, 0, 0, 255, 255})
	f.Fuzz(func(t *testing.T, stream []byte) {
		tokens, err := readAll(bytes.NewReader(stream))
		var again []byte
		for _, token := range tokens {
			again = append(again, tuple(uint32(token.Since.Unix()), token.Token...)...)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("read %x of %x", again, stream)
		}
		if (err == nil) != (len(again) == len(stream)) {
			t.Errorf("%d of %d bytes read, but the error is %v", len(again), len(stream), err)
		}
	})
}
