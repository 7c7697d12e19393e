package door

import (
	"testing"
	"time"
)

func TestReadsThePoolsSettingsByName(t *testing.T) {
	type newest struct {
		MinDifficulty, MaxDifficulty, TargetSharesPerMin float64
		MaxConns, ShareNTimeMaxForwardSeconds            int
		EnforceSuggestedDifficultyLimits                 bool
		StratumPasswordEnabled, ShareCheckNTimeWindow    bool
		StratumPassword, StatusPublicURL                 string
		ShareAllowOutOfMaskVersionBits                   bool
	}
	got := SettingsOf(newest{256, 10, 15, 50000, 7000, true, true, true, "secret", "https://pool", false})
	want := Settings{MinDifficulty: 256, MaxDifficulty: 256, EnforceLimits: true, SharesPerMinute: 15,
		MaxConnections: 50000, MaxNTimeAhead: 7000 * time.Second, PasswordNeeded: true,
		Password: "secret", PublicURL: "https://pool", BIP310Version: true}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if unchecked := SettingsOf(&newest{ShareNTimeMaxForwardSeconds: 7000}); unchecked.MaxNTimeAhead != 0 {
		t.Errorf("a window that goPool does not check: %v", unchecked.MaxNTimeAhead)
	}
}

func TestSurvivesSettingsOfAnotherShape(t *testing.T) {
	type old struct {
		MinDifficulty   string
		MaxConns        float64
		StratumPassword []byte
	}
	for _, strange := range []any{old{"1", -1, nil}, struct{}{}, nil, 7, "text"} {
		if got := SettingsOf(strange); got != (Settings{}) {
			t.Errorf("%#v gave %+v", strange, got)
		}
	}
}
