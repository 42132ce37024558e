package webhook

import (
	"maps"
	"slices"
	"strconv"

	"github.com/gomdm/applemdm/command"
	"github.com/gomdm/applemdm/mdm/schema"
)

// redact takes out of an answer what the schema calls secret and what it does not describe, and returns the paths of that. Of
// what is not described nobody knows whether it is secret.
func redact(requestType string, dict map[string]any) []string {
	r := redactor{}
	_, answer := command.SchemaOf(requestType)
	switch {
	case answer == nil:
		r.keys(nil, "", dict)
	case !answer.Free:
		r.keys(answer.Keys, "", dict)
	}
	return r.leftOut
}

// maxLeftOut bounds the list of paths.
const maxLeftOut = 100

type redactor struct {
	open    []*schema.Key // from the outermost on
	leftOut []string
}

func (r *redactor) out(path string) {
	if len(r.leftOut) < maxLeftOut {
		r.leftOut = append(r.leftOut, path)
	}
}

// keys keeps in dict what keys describe.
func (r *redactor) keys(keys []schema.Key, path string, dict map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(dict)) {
		i := slices.IndexFunc(keys, func(k schema.Key) bool { return k.Name == name })
		if i < 0 || !r.keep(&keys[i], path+name, dict[name], dict, name) {
			r.out(path + name)
			delete(dict, name)
		}
	}
}

// keep redacts one value, which is at a name of a dictionary if dict is not nil. It is false if nothing of it may stay.
func (r *redactor) keep(k *schema.Key, path string, value any, dict map[string]any, name string) bool {
	r.open = append(r.open, k)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	form := schema.Form(r.open)
	if k.Secret || form.Secret {
		return false
	}
	switch v := value.(type) {
	case map[string]any:
		return r.dictionary(form, path, v)
	case []any:
		list, ok := r.items(form, path, v)
		if ok && dict != nil {
			dict[name] = list
		}
		return ok
	}
	return form.Kind != schema.Dictionary && form.Kind != schema.Array
}

func (r *redactor) dictionary(form *schema.Key, path string, dict map[string]any) bool {
	switch {
	case form.Kind != schema.Dictionary && form.Kind != schema.Any:
		return false
	case form.Value != nil:
		for _, name := range slices.Sorted(maps.Keys(dict)) {
			if !r.keep(form.Value, path+"."+name, dict[name], dict, name) {
				r.out(path + "." + name)
				delete(dict, name)
			}
		}
	case form.Keys != nil:
		r.keys(form.Keys, path+".", dict)
	}
	return true
}

func (r *redactor) items(form *schema.Key, path string, list []any) ([]any, bool) {
	if form.Kind != schema.Array && form.Kind != schema.Any {
		return nil, false
	}
	if form.Item == nil && form.Union == nil {
		return list, true
	}
	kept := []any{}
	for i, item := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		k := form.Item
		if form.Union != nil {
			k = member(form, item)
		}
		if k == nil || !r.keep(k, at, item, nil, "") {
			r.out(at)
			continue
		}
		kept = append(kept, item)
	}
	return kept, true
}

// member is the dictionary of a union that an item is; nil if there is none.
func member(form *schema.Key, item any) *schema.Key {
	dict, _ := item.(map[string]any)
	name, _ := dict["Item"].(string)
	for i := range form.Union {
		if form.Union[i].Name == name {
			return &form.Union[i]
		}
	}
	return nil
}
