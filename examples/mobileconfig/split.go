package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/gomdm/applemdm/profile"
)

func (p program) split(args []string) (int, error) {
	f := p.flags("split")
	out := f.String("out", ".", "folder for the profiles")
	if err := f.Parse(args); err != nil {
		return 0, err
	}
	if f.NArg() != 1 {
		return 0, errors.New("split needs one file")
	}
	data, err := p.read(f.Arg(0))
	if err != nil {
		return 0, err
	}
	parsed, err := profile.Parse(data)
	if err != nil {
		return 0, err
	}
	parts, err := profile.Split(parsed.Profile)
	if err != nil {
		return 0, err
	}
	if len(parts) == 1 {
		fmt.Fprintln(p.stdout, "the profile holds one account or none")
		return 0, nil
	}
	if parsed.Signer != nil {
		fmt.Fprintln(p.stderr, "mobileconfig: the profile was signed; its parts are not")
	}
	for _, part := range parts {
		if err := p.write(*out, part); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// write writes a profile into a new file of its name, for its owner only: it may hold secrets.
func (p program) write(dir string, part *profile.Profile) error {
	name := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(".-_", r)) {
			return r
		}
		return '_'
	}, part.Identifier)
	data, err := part.Encode()
	if err != nil {
		return err
	}
	name = filepath.Join(dir, strings.TrimLeft(name, ".")+".mobileconfig")
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(data); err != nil {
		return errors.Join(err, file.Close())
	}
	fmt.Fprintln(p.stdout, name)
	return file.Close()
}
