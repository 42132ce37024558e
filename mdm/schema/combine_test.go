package schema_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/gomdm/applemdm/mdm/schema"
)

func TestCombine(t *testing.T) {
	t.Parallel()
	item := func(d dict) dict { return dict{"List": []any{d}} }
	for _, tt := range []struct {
		name      string
		condition schema.Condition
		good      []dict
		bad       dict
		path      string
	}{
		{"exactly one, none", schema.OneOf("A", "B"), []dict{{"A": 1}, {"B": nil}}, dict{}, ""},
		{"exactly one, both", schema.OneOf("A", "B"), []dict{{"A": 1, "C": 1}}, dict{"A": 1, "B": 1}, ""},
		{"at least one", schema.AnyOf("A", "B"), []dict{{"A": 1}, {"A": 1, "B": 1}}, dict{"C": 1}, ""},
		{"at most one", schema.AtMostOne("A", "B"), []dict{{}, {"B": 1}}, dict{"A": 1, "B": 1}, ""},
		{"one needs another", schema.Needs("A", "B"), []dict{{}, {"B": 1}, {"A": 1, "B": 1}}, dict{"A": 1}, "B"},
		{"always needed", schema.Needs("", "B"), []dict{{"B": 1}}, dict{}, "B"},
		{"one excludes another", schema.Excludes("A", "B"), []dict{{"A": 1}, {"B": 1}}, dict{"A": 1, "B": 1}, "B"},
		{"with a value", schema.Needs("", "B").If("Type", "x", "y"), []dict{{}, {"Type": "z"}, {"Type": "x", "B": 1}}, dict{"Type": "y"}, "B"},
		{"with a truth", schema.Needs("", "B").If("On", "true"), []dict{{"On": false}, {"On": "yes"}}, dict{"On": true}, "B"},
		{"with a number", schema.Needs("", "B").If("N", "2"), []dict{{"N": uint64(1)}}, dict{"N": uint64(2)}, "B"},
		{"inside", schema.OneOf("A").In("Inner"), []dict{{}, {"Inner": dict{"A": 1}}, {"Inner": "text"}}, dict{"Inner": dict{}}, "Inner"},
		{"in items", schema.Needs("A", "B").In("List[]"), []dict{{}, item(dict{"A": 1, "B": 1}), {"List": "text"}, {"List": []any{"text", nil}}}, item(dict{"A": 1}), "List[0].B"},
		{"under every key", schema.OneOf("A").In("Map.*[]"), []dict{{"Map": dict{"x": []any{dict{"A": 1}}, "y": "text"}}},
			dict{"Map": dict{"x": []any{dict{"A": 1}}, "y": []any{dict{}}}}, "Map.y[0]"},
		{"in arrays of arrays", schema.OneOf("A").In("Grid[][]"), []dict{{"Grid": []any{[]any{dict{"A": 1}}, "text"}}}, dict{"Grid": []any{[]any{}, []any{dict{}}}}, "Grid[1][0]"},
		{"deep in items", schema.OneOf("A").In("Inner.List[].More[]"), []dict{{"Inner": item(dict{"More": []any{dict{"A": 1}}})}},
			dict{"Inner": item(dict{"More": []any{dict{}}})}, "Inner.List[0].More[0]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, good := range tt.good {
				assert.Empty(t, schema.Combine(good, []schema.Condition{tt.condition}), "%v", good)
			}
			found := schema.Combine(tt.bad, []schema.Condition{tt.condition})
			if assert.Len(t, found, 1) {
				assert.Equal(t, schema.RuleCombination, found.Rules())
				assert.Equal(t, tt.path, found[0].Path)
				assert.NotEmpty(t, found[0].Text)
			}
			assert.NoError(t, schema.Combine(tt.bad, []schema.Condition{tt.condition.Warn()}).Err())
		})
	}
}

func ExampleCombine() {
	rules := []schema.Condition{
		schema.AnyOf("Message", "PhoneNumber"),
		schema.Needs("", "URL").In("Items[]").If("Type", "WebClip"),
	}
	for _, f := range schema.Combine(map[string]any{"Items": []any{map[string]any{"Type": "WebClip"}}}, rules) {
		fmt.Println(f)
	}
	// Output:
	// combination: one of Message, PhoneNumber is needed
	// Items[0].URL: combination: the key is needed where Type is WebClip
}
