package schema_test

import (
	"fmt"
	"testing"
	"time"

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
		{"with a key", schema.Needs("", "B").If("A"), []dict{{}, {"A": nil, "B": 1}}, dict{"A": nil}, "B"},
		{"with a value of a list", schema.Needs("", "B").If("List", "x"), []dict{{"List": []any{"y", 1, nil}}, {"List": dict{}}}, dict{"List": []any{"y", "x"}}, "B"},
		{"with two values", schema.Needs("", "B").If("A", "1").If("C", "2"), []dict{{"A": "1"}, {"C": "2"}, {"A": "1", "C": "3"}}, dict{"A": "1", "C": "2"}, "B"},
		{"without a value", schema.Needs("", "B").Unless("Off", "true"), []dict{{"Off": true}, {"B": 1}}, dict{"Off": false}, "B"},
		{"without a key", schema.Needs("", "B").Unless("Off", "true"), []dict{{"Off": true}}, dict{}, "B"},
		{"with one value, without another", schema.Needs("", "B").If("A", "1").Unless("C", "2"), []dict{{}, {"A": "1", "C": "2"}}, dict{"A": "1", "C": "3"}, "B"},
		{"a value ruled out", schema.Not("B", "false").If("A", "true"),
			[]dict{{}, {"A": true}, {"A": true, "B": true}, {"A": true, "B": 0}, {"A": true, "B": nil}, {"B": false}}, dict{"A": true, "B": false}, "B"},
		{"a number ruled out", schema.Not("B", "192", "521"), []dict{{"B": uint64(256)}, {"B": dict{}}}, dict{"B": int64(521)}, "B"},
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

// Two conditions that are made of one do not see each other's tests.
func TestConditionsAreApart(t *testing.T) {
	t.Parallel()
	one := schema.Needs("", "B").If("A").If("C").If("D") // room behind the tests
	x, y := one.If("E"), one.If("F")
	assert.Len(t, schema.Combine(dict{"A": 1, "C": 1, "D": 1, "E": 1}, []schema.Condition{x}), 1)
	assert.Empty(t, schema.Combine(dict{"A": 1, "C": 1, "D": 1, "E": 1}, []schema.Condition{y}))
}

// A text says what the rule says, and nothing of what was checked.
func TestCombineSaysNoValues(t *testing.T) {
	t.Parallel()
	rules := []schema.Condition{
		schema.OneOf("A", "B"), schema.AtMostOne("A", "B"), schema.Needs("A", "C"), schema.Excludes("A", "B"), schema.Not("A", "hunter2"),
		schema.Needs("", "C").If("B").Unless("D", "x").In("Inner"),
	}
	found := schema.Combine(dict{"A": "hunter2", "B": "hunter2", "Inner": dict{"B": "hunter2", "D": "hunter2"}}, rules)
	assert.Len(t, found, 6)
	assert.NotContains(t, found.Error(), "hunter2")
	assert.Equal(t, "the key is needed where B is there and D is not x", found[5].Text)
}

// Whatever stands in place of a dictionary, an array or a value: nothing panics, and what is not a dictionary has no findings.
func TestCombineOddTypes(t *testing.T) {
	t.Parallel()
	for _, odd := range []any{nil, "text", true, 1, int64(-1), uint64(1), 0.5, []byte{1}, time.Now(), []any{nil, 1, []any{1}}, dict{}, dict{"x": nil}, struct{}{}} {
		for _, at := range []string{"", "A", "A[]", "A[][]", "A.B", "A.*", "A.*[]", "A[].B[].C", "*"} {
			for _, c := range []schema.Condition{
				schema.OneOf("A", "B"), schema.AnyOf("A", "B"), schema.AtMostOne("A", "B"), schema.Needs("A", "B"), schema.Needs("", "B"),
				schema.Excludes("A", "B"), schema.Not("A", "x"), schema.Needs("", "B").If("A", "x"), schema.Not("B", "x").Unless("A", "x"),
			} {
				assert.NotPanics(t, func() { schema.Combine(dict{"A": odd}, []schema.Condition{c.In(at)}) }, "%T at %q", odd, at)
				assert.Empty(t, schema.Combine(dict{"A": odd}, []schema.Condition{schema.Not("A", "x").In(at)}), "%T at %q", odd, at)
			}
		}
		_, isDict := odd.(dict)
		assert.Equal(t, isDict, len(schema.Combine(dict{"A": odd}, []schema.Condition{schema.AnyOf("B").In("A")})) > 0, "%T", odd)
	}
	assert.Empty(t, schema.Combine(nil, []schema.Condition{schema.Needs("A", "B"), schema.Not("A", "x")}))
	assert.Empty(t, schema.Combine(nil, nil))
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
