//! Random changes and queries have the answers of a simple model in memory.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::data::kv::bloom::{Filter, Item};
use crate::data::kv::glob::Glob;

/// Numbers that a seed decides (SplitMix64, Steele et al. 2014).
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Of the numbers below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len() as u64) as usize]
    }

    fn many<T>(&mut self, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    fn key(&mut self) -> String {
        text(self.of(&["", "a", "ab", "b", "b\0", "ü", "user:1", "user:2"]))
    }

    fn value(&mut self) -> Vec<u8> {
        match self.below(3) {
            0 => self.below(200).to_string().into_bytes(),
            1 => (i64::MAX - self.below(2) as i64).to_string().into_bytes(),
            _ => self.many(60, |random| random.below(256) as u8),
        }
    }

    fn member(&mut self) -> Vec<u8> {
        self.many(2, |random| *random.of(&[&b'a', &b'b', &b'*', &0, &255]))
    }

    fn score(&mut self) -> f64 {
        let scores = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            1.5,
            1e300,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
        ];
        // What is no number is rare.
        let last = if self.below(10) == 0 { 9 } else { 8 };
        scores[self.below(last) as usize]
    }

    fn pattern(&mut self) -> String {
        text(self.of(&[
            "*", "", "a*", "?", "*a*", "user:*", "[a-b]", "b?", "**", "user:1", "\\*",
        ]))
    }

    fn item(&mut self) -> Vec<u8> {
        self.below(400).to_string().into_bytes()
    }

    fn change(&mut self) -> Change {
        let key = self.key();
        match self.below(10) {
            0..=2 => Change::Set(self.many(3, |random| (random.key(), random.value()))),
            3 => Change::Delete(self.many(3, Self::key)),
            4 => {
                let delta = self.below(9) as i64 - 4;
                Change::Increment { key, delta }
            }
            5 => Change::Swap {
                key,
                expected: (self.below(2) == 0).then(|| self.value()),
                value: self.value(),
            },
            6..=7 => {
                let members = self.many(4, |random| (random.member(), random.score()));
                Change::AddMembers { key, members }
            }
            _ => {
                let items = self.many(40, Self::item);
                Change::AddItems { key, items }
            }
        }
    }

    fn query(&mut self) -> Query {
        let key = self.key();
        match self.below(7) {
            0 => Query::Get(self.many(4, Self::key)),
            1 => Query::Exists(key),
            2 => {
                let cursor = (self.below(2) == 0).then_some(key);
                Query::List { cursor }
            }
            3 => Query::Scan {
                pattern: self.pattern(),
            },
            4 => {
                let (min, max) = (self.score(), self.score());
                Query::RangeByScore { key, min, max }
            }
            5 => {
                let pattern = self.pattern();
                Query::ScanMembers { key, pattern }
            }
            _ => {
                let item = self.item();
                Query::MayContain { key, item }
            }
        }
    }
}

/// What a key of the model holds.
#[derive(Clone)]
enum Held {
    Value(Vec<u8>),
    Set(BTreeMap<Vec<u8>, f64>),
    Filter(Filter, HashMap<(u8, u64), Vec<u8>>),
}

/// A namespace of the model.
#[derive(Clone, Default)]
struct Model(BTreeMap<String, Held>);

impl Model {
    fn usage(&self) -> (u64, u64) {
        let bytes = |(key, held): (&String, &Held)| {
            let held = match held {
                Held::Value(value) => value.len(),
                Held::Set(members) => members.keys().map(|member| member.len() + 8).sum(),
                Held::Filter(_, blocks) => blocks.values().map(Vec::len).sum(),
            };
            (key.len() + held) as u64
        };
        (self.0.len() as u64, self.0.iter().map(bytes).sum())
    }

    fn change(&mut self, quota: Quota, change: &Change) -> Result<Answer, KvError> {
        let mut after = self.clone();
        let answer = after.change_freely(change)?;
        let ((keys_before, bytes_before), (keys, bytes)) = (self.usage(), after.usage());
        if keys > quota.keys && keys > keys_before {
            return Err(KvError::OverQuota(What::Keys));
        }
        if bytes > quota.bytes && bytes > bytes_before {
            return Err(KvError::OverQuota(What::Bytes));
        }
        *self = after;
        Ok(answer)
    }

    fn value(&self, key: &str) -> Result<Option<&Vec<u8>>, KvError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Held::Value(value)) => Ok(Some(value)),
            Some(_) => Err(KvError::WrongType),
        }
    }

    fn change_freely(&mut self, change: &Change) -> Result<Answer, KvError> {
        match change {
            Change::Set(values) => {
                for (key, value) in values {
                    self.0.insert(key.clone(), Held::Value(value.clone()));
                }
            }
            Change::Delete(keys) => self.0.retain(|key, _| !keys.contains(key)),
            Change::Increment { key, delta } => {
                let number = match self.value(key)? {
                    None => 0,
                    Some(value) => {
                        let text = String::from_utf8(value.clone()).unwrap_or_default();
                        let number = text.parse::<i64>().ok();
                        let number = number.filter(|number| number.to_string() == text);
                        number.ok_or(KvError::NotAnInteger)?
                    }
                };
                let number = number.checked_add(*delta).ok_or(KvError::NotAnInteger)?;
                let value = number.to_string().into_bytes();
                self.0.insert(key.clone(), Held::Value(value));
                return Ok(Answer::Count(number));
            }
            Change::Swap {
                key,
                expected,
                value,
            } => {
                let is_as_expected = self.value(key)? == expected.as_ref();
                if is_as_expected {
                    self.0.insert(key.clone(), Held::Value(value.clone()));
                }
                return Ok(Answer::Bool(is_as_expected));
            }
            Change::AddMembers { key, members } => {
                if members.iter().any(|(_, score)| score.is_nan()) {
                    return Err(KvError::NotAScore);
                }
                let set = self.0.entry(key.clone());
                let Held::Set(set) = set.or_insert(Held::Set(BTreeMap::new())) else {
                    return Err(KvError::WrongType);
                };
                set.extend(members.iter().cloned());
                if set.is_empty() {
                    self.0.remove(key);
                }
            }
            Change::AddItems { key, items } => {
                let filter = self.0.entry(key.clone());
                let empty = Held::Filter(Filter::new(limits::KV_BLOOM_ITEMS), HashMap::new());
                let Held::Filter(filter, blocks) = filter.or_insert(empty) else {
                    return Err(KvError::WrongType);
                };
                for item in items {
                    add(filter, blocks, &Item::new(item));
                }
                if blocks.is_empty() {
                    self.0.remove(key);
                }
            }
        }
        Ok(Answer::Done)
    }

    fn query(&self, query: &Query) -> Result<Answer, KvError> {
        let members = |key: &str, is_one: &dyn Fn(&[u8], f64) -> bool| {
            let mut members = match self.0.get(key) {
                None => vec![],
                Some(Held::Set(members)) => members.clone().into_iter().collect(),
                Some(_) => return Err(KvError::WrongType),
            };
            members.retain(|(member, score)| is_one(member, *score));
            members.sort_by(|(_, one), (_, other)| one.partial_cmp(other).unwrap());
            Ok(Answer::Members(members))
        };
        match query {
            Query::Get(keys) => {
                let value = |key: &String| Ok(self.value(key)?.cloned());
                keys.iter()
                    .map(value)
                    .collect::<Result<_, _>>()
                    .map(Answer::Values)
            }
            Query::Exists(key) => Ok(Answer::Bool(self.0.contains_key(key))),
            Query::List { cursor } => {
                let keys = self
                    .0
                    .keys()
                    .filter(|key| cursor.as_ref().is_none_or(|it| *key > it));
                Ok(Answer::Page(keys.cloned().collect(), None))
            }
            Query::Scan { pattern } => {
                let keys = self.0.keys().filter(|key| matches(pattern, key.as_bytes()));
                Ok(Answer::Keys(keys.cloned().collect()))
            }
            Query::RangeByScore { min, max, .. } if min.is_nan() || max.is_nan() => {
                Err(KvError::NotAScore)
            }
            Query::RangeByScore { key, min, max } => {
                members(key, &|_, score| *min <= score && score <= *max)
            }
            Query::ScanMembers { key, pattern } => {
                members(key, &|member, _| matches(pattern, member))
            }
            Query::MayContain { key, item } => match self.0.get(key) {
                None => Ok(Answer::Bool(false)),
                Some(Held::Filter(filter, blocks)) => {
                    Ok(Answer::Bool(has(filter, blocks, &Item::new(item))))
                }
                Some(_) => Err(KvError::WrongType),
            },
        }
    }
}

fn matches(pattern: &str, text: &[u8]) -> bool {
    Glob::new(pattern.as_bytes())
        .matches(text, &mut 1_000)
        .unwrap()
}

fn has(filter: &Filter, blocks: &HashMap<(u8, u64), Vec<u8>>, item: &Item) -> bool {
    filter.layers().any(|layer| {
        let block = blocks.get(&(layer.index, layer.block(item)));
        block.is_some_and(|block| layer.has(item, block))
    })
}

fn add(filter: &mut Filter, blocks: &mut HashMap<(u8, u64), Vec<u8>>, item: &Item) {
    if !has(filter, blocks, item) {
        let layer = filter.grow().unwrap();
        let block = blocks.entry((layer.index, layer.block(item)));
        layer.set(item, block.or_insert_with(|| vec![0; layer.block_bytes]));
    }
}

const NAMESPACES: [&str; 3] = ["a/b", "a/b2", "/shared"];

fn quota(random: &mut Random) -> Quota {
    Quota {
        keys: *random.of(&[&0, &2, &5, &u64::MAX, &u64::MAX]),
        bytes: *random.of(&[&0, &40, &300, &1_000, &u64::MAX, &u64::MAX]),
    }
}

#[test]
fn random_changes_and_queries_are_as_the_model_has_them() {
    for seed in 0..150 {
        let mut random = Random::new(seed);
        let (mut store, disk) = new();
        let mut models: BTreeMap<&str, Model> = BTreeMap::new();
        let quotas = NAMESPACES.map(|_| quota(&mut random));
        for step in 0..80 {
            let changes = random.many(6, |random| {
                let which = random.below(3) as usize;
                (NAMESPACES[which], quotas[which], random.change())
            });
            let batch: Vec<_> = changes
                .iter()
                .map(|(name, quota, it)| (*name, *quota, it))
                .collect();
            let answers = store.apply(&batch).unwrap();
            for (answer, (name, quota, change)) in answers.into_iter().zip(batch) {
                let expected = models.entry(name).or_default().change(quota, change);
                assert_eq!(
                    answer, expected,
                    "seed {seed}, step {step}: {name} {change:?}"
                );
            }
            if random.below(20) == 0 {
                drop(store);
                store = disk.open().unwrap();
            }
            for _ in 0..4 {
                let (name, query) = (random.of(&NAMESPACES), random.query());
                let expected = models.entry(name).or_default().query(&query);
                let answer = store.query(name, &query);
                assert_eq!(
                    answer, expected,
                    "seed {seed}, step {step}: {name} {query:?}"
                );
            }
            for (name, model) in &models {
                assert_eq!(
                    store.usage(name),
                    Ok(model.usage()),
                    "seed {seed}, step {step}"
                );
            }
        }
        check_whole(&store);
    }
}
