package profile

import "fmt"

// maxPath is the longest key path, in bytes, in a profile that is read, and maxID the longest identifier, UUID or type. Real
// ones are far shorter. What is said about a profile names both again and again, once for each value below a key and for each
// payload: without a limit a file of 4 MiB makes gigabytes.
const (
	maxPath = 1024
	maxID   = 1024
)

// checkLengths refuses a profile whose keys or names are too long to be said again.
func checkLengths(top map[string]any) error {
	if err := checkIDs(top); err != nil {
		return err
	}
	return checkPaths(top, 0)
}

func checkIDs(dict map[string]any) error {
	for _, key := range []string{"PayloadType", "PayloadIdentifier", "PayloadUUID"} {
		if len(text(dict, key)) > maxID {
			return fmt.Errorf("%s is longer than %d bytes", key, maxID)
		}
	}
	return nil
}

// checkPaths looks at the paths of all values in a tree that is itself at a path of so many bytes.
func checkPaths(tree any, length int) error {
	switch v := tree.(type) {
	case map[string]any:
		for key, value := range v {
			if length+len(key) > maxPath {
				return fmt.Errorf("a key and those around it are longer than %d bytes", maxPath)
			}
			if err := checkPaths(value, length+len(key)); err != nil {
				return err
			}
		}
	case []any:
		for _, value := range v {
			if err := checkPaths(value, length); err != nil {
				return err
			}
		}
	}
	return nil
}
