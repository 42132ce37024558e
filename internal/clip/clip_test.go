package clip_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/internal/clip"
)

func TestText(t *testing.T) {
	assert.Equal(t, "12345", clip.Text("12345", 5, 3))
	assert.Equal(t, "123…", clip.Text("123456", 5, 3))
	assert.Equal(t, "12…", clip.Text("12ü456", 5, 3), "no half of a character")
	assert.Equal(t, "123456…", clip.Text("123456", 5, 9))
	assert.True(t, utf8.ValidString(clip.Text(strings.Repeat("€", 999), 1000, 1000)))
}

func ExampleText() {
	fmt.Println(clip.Text("a device says a lot", 10, 8))
	// Output: a device…
}
